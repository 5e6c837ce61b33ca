"""The evidence in the buyer's namespace, on a real API server: written, added to, put right, and as long as it may be."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.control.handouts import object_name
from laycan.kube.client import Client
from laycan.kube.credentials import load_credentials
from laycan.resources.crd import definition
from laycan.resources.evidence_bundle import MOST_CHARACTERS
from tests.cluster.test_resources import wait_established
from tests.laycan.control.test_handouts import FOLDER, SETTLE, Buyer, Office, verdict


@pytest.fixture(scope="module")
def plane(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("handouts"), tools=tools, fsync=False) as plane:
        plane.admin.apply(definition("EvidenceBundle"))
        wait_established(plane.admin, "EvidenceBundle")
        plane.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme-train"}})
        yield plane


def test_the_life_of_one(plane: ControlPlane, tmp_path: Path) -> None:
    """Spoiled by the buyer it comes again with the next receipt, and deleted with the one after; as with the longest name there is."""

    def spec(name: str) -> dict[str, Any]:
        found: dict[str, Any] = plane.admin.get(f"{FOLDER}/{name}")["spec"]
        return found

    async def life() -> None:
        async with Client(load_credentials(plane.admin_kubeconfig)) as client:
            made = Office(tmp_path, Buyer(), client)
            name, path = object_name(made.made.contract), f"{FOLDER}/{object_name(made.made.contract)}"
            for day in range(3):
                end = made.day(day)
                await made.look(end, end + SETTLE)
                assert (spec(name)["receipts"], spec(name)["complete"], verdict(spec(name))) == (day + 1, True, 0)
                if day == 0:
                    plane.admin.patch(path, {"spec": {"bundle": "AAAA", "message": "mine"}})
                else:
                    plane.admin.delete(path)
                    until("it is gone", lambda: plane.admin.find(path) is None)
            made.made.contract = replace(made.made.contract, name=f"{'x' * 239}.yyyy")
            made.made.world.contracts.clear()
            made.begin()
            await made.look(end, end + SETTLE)
            assert verdict(spec(object_name(made.made.contract))) == 0

    asyncio.run(life())


def test_the_longest(plane: ControlPlane) -> None:
    """An object of the greatest length is taken, also twice, and made short again."""
    longest = base64.b64encode(random.Random(1).randbytes(MOST_CHARACTERS * 3 // 4)).decode()
    spec = {"contractId": "x", "contract": "desk/c1", "uid": "u", "receipts": 1, "until": "2027-01-05T00:00:00Z", "complete": True}
    plane.admin.create(
        {
            "apiVersion": "laycan.dev/v1alpha1",
            "kind": "EvidenceBundle",
            "metadata": {"name": "longest", "namespace": "acme-train"},
            "spec": {**spec, "bundle": longest},
        }
    )
    path = f"{FOLDER}/longest"
    for number in (2, 3):
        longest = longest[4:] + "AAAA"
        assert plane.admin.patch(path, {"spec": {"bundle": longest, "receipts": number}})["spec"]["bundle"] == longest
    plane.admin.patch(path, {"spec": {"bundle": None, "message": "too long", "receipts": 4}})
    assert "bundle" not in json.dumps(plane.admin.get(path)["spec"])
