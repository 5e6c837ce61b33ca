"""How kopf is told to serve as a shell."""

from __future__ import annotations

import kopf

from laycan.main import configure


def test_outlives_an_api_server_that_is_away() -> None:
    """For a day, asking every few seconds, so that it leads again soon after: a process that gave up would be started anew ever later."""
    settings = kopf.OperatorSettings()
    configure(settings)
    assert isinstance(settings.networking.error_backoffs, list)
    assert sum(settings.networking.error_backoffs) >= 86_400
    assert max(settings.networking.error_backoffs) <= 5
