"""Fixtures of the tests that build the image and run what is in it: `make test-image`, on Linux, as root, with a network and the packages
that `controlplane.image.missing()` names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import image
from controlplane.build import BuildError
from controlplane.image import Image

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the image, and is left out unless `-m image` is given."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.xdist_group("image"))


@pytest.fixture(scope="session")
def built() -> Iterator[Image]:
    """The image of this checkout, its root file system mounted."""
    if lacking := image.missing():
        pytest.fail(f"the image needs {', and '.join(lacking)}", pytrace=False)
    try:
        image.build()
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)
    with image.mounted() as found:
        yield found
