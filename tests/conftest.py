"""What all tests share: the order of their files, the control plane's binaries, and the examples that property tests draw.

Those are the same in every run, so that none is flaky; `HYPOTHESIS_PROFILE=explore` looks for new ones.
"""

import os
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

from controlplane.build import BuildError, binaries
from tests.order import rank, spread

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

CLUSTER = Path(__file__).parent / "cluster"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which parallel workers should take them, see tests/order.py."""
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    waiting = sorted((tests for tests in files if CLUSTER in tests[0].path.parents), key=lambda tests: rank(str(tests[0].path)))
    computing = [tests for tests in files if CLUSTER not in tests[0].path.parents]
    items[:] = [item for tests in spread(waiting, computing) for item in tests]


@pytest.fixture(scope="session")
def tools() -> dict[str, Path]:
    """The binaries, built now if this is the first run."""
    try:
        return binaries()
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)
