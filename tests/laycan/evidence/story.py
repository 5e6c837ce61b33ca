"""A contract whose receipts stand in a real log, as the operator brings them there: for tests of what is exported of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan.control.receipts import Seal
from laycan.events.evidence_keys import EvidenceKeys
from laycan.ledger.log import Checkpoint, Entry
from laycan.ledger.sqlite import SqliteLog, create_log, path_of
from laycan.resources.times import format_time
from laycan_verify.notes import LOG, WITNESS, cosigned, head, signature_line
from tests.laycan.control.desk import T0, Desk
from tests.laycan.control.test_status_agent import meter, reports
from tests.laycan.events.test_evidence_keys import raw_key, whole

DAY = 86_400
OPERATOR = "op"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(raw_key(50))
WITNESS_NAME = "gcx-witness"


class Told(Desk):
    """What stands in the outbox is in the log before the next look, with the readings behind it, as the appender does it."""

    log: SqliteLog

    def _hear(self, status: dict[str, Any]) -> None:
        super()._hear(status)
        assert self.seal is not None
        for kept in self.seal.kept.values():
            self.log.keep_readings([rfc8785.dumps(each) for each in json.loads(kept)])
        if entries := [Entry(entry["id"], entry["body"].encode()) for entry in status.get("outbox", ())]:
            self.log.append(entries)


def story(root: Path, *, exchange: bool = True, health: dict[str, Any] | None = None, cap_ppm: int = 1_000_000, **more: Any) -> Told:
    """Two lots on two nodes with agents, to be delivered for two days and an hour, none of it run yet. `cap_ppm`: of grace."""
    keys = whole()
    origin = f"{OPERATOR}/desk/gcx" if exchange else f"{OPERATOR}/local"
    made = Told(exchange=exchange, price={"amount": "2.10", "currency": "USD"}, **{"seconds": 2 * DAY + 3600, **more})
    made.world.products["h100"]["spec"]["tolerance"]["graceCapPpm"] = cap_ppm
    made.world.products["h100"] = {"spec": {**made.world.products["h100"]["spec"], **({"health": health} if health else {})}}
    made.log = create_log(path_of(root, *(("desk", "gcx") if exchange else ("", ""))), origin)
    made.seal = Seal(keys.receipts, OPERATOR, "sha256:" + "0" * 64, lambda endpoint: keys.salt_of(origin))
    made.nodes("a", "b")
    made.bind(T0 - 7000, ("a", T0, made.end), ("b", T0, made.end))
    made.at(T0 - 7000)
    made.hand_over("a", "b")
    for name in ("a", "b"):
        meter(made, name, T0 - 40)
    made.at(T0 - 30)
    made.at(T0)
    return made


def deliver(made: Told, start: int, end: int) -> None:
    """The agents report every quarter of an hour."""
    for now in range(start, end + 1, 900):
        reports(made, now, now, "a", "b")


def checkpoint(log: SqliteLog, keys: EvidenceKeys, cosigned_at: int | None = None) -> None:
    """Of the log as it is; with a cosignature where there is a time."""
    text = head(log.origin, log.size, log.root())
    note = f"{text.decode()}\n{signature_line(log.origin, LOG, keys.checkpoints.public_key, keys.checkpoints.sign(text))}"
    if cosigned_at is not None:
        signature = cosigned_at.to_bytes(8, "big") + WITNESS_KEY.sign(cosigned(cosigned_at, text))
        note += signature_line(WITNESS_NAME, WITNESS, WITNESS_KEY.public_key().public_bytes_raw(), signature)
    log.keep_checkpoint(Checkpoint(log.size, note, cosigned_at is not None))


def objects(made: Desk) -> tuple[dict[str, Any], dict[str, Any]]:
    """Contract and product as the API has them."""
    view = made.contract
    meta = {"namespace": view.namespace, "name": view.name, "uid": view.uid, "creationTimestamp": format_time(view.created)}
    contract = {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "ComputeContract",
        "metadata": meta,
        "spec": view.spec,
        "status": made.status,
    }
    product = {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": "h100"}, **made.world.products["h100"]}
    return contract, product
