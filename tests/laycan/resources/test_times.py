"""One instant has one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.resources.times import format_time, parse_time

FIRST, LAST = -62135596800, 253402300799  # year 1 to 9999


@given(st.integers(FIRST, LAST))
def test_round_trip(seconds: int) -> None:
    """Text and seconds are two forms of the same thing."""
    assert parse_time(format_time(seconds)) == seconds


def test_known_instant() -> None:
    """A value from outside: `date -u -d 2027-01-04T00:00:00Z +%s`."""
    assert parse_time("2027-01-04T00:00:00Z") == 1799020800


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-04T00:00:00+00:00",
        "2027-01-04T00:00:00.0Z",
        "2027-01-04T00:00:00z",
        "2027-01-04 00:00:00Z",
        "2027-01-04T00:00:00Z\n",
        "2027-02-29T00:00:00Z",
        "2027-01-04T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "٢٠٢٧-01-04T00:00:00Z",
        "",
    ],
)
def test_every_other_spelling_is_refused(text: str) -> None:
    """A second spelling of an instant would be a second digest of the same terms."""
    with pytest.raises(ValueError, match="time"):
        parse_time(text)
