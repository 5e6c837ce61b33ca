"""Which software speaks in a receipt: a digest of its source as it is installed, which whoever has the same release can compute."""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from laycan.resources.digest import digest

PACKAGES = ("laycan", "laycan_solver", "laycan_verify")


def software_digest() -> str:
    """`sha256:<hex>` over the RFC 8785 bytes of {path: hex SHA-256} of all modules of the three packages."""
    found = {}
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in Path(folder).rglob("*.py"):
                found[f"{package}/{file.relative_to(folder).as_posix()}"] = sha256(file.read_bytes()).hexdigest()
    return digest(found)
