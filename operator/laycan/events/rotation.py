"""How a new key becomes known: the old one announces it, in the log of each exchange, before anything there is signed by the new one.

Whoever trusts the old key learns the new one from a place in a history that cannot be changed later. The signature is over the raw
public key, 32 bytes: nothing else that one of these keys signs is as short, so it can be taken for nothing else. An announcement
stands once in each log, whatever crashes: its id follows from the two keys, and a log refuses a second entry under one id.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from laycan.events.cloudevents import operator_event
from laycan.events.evidence_keys import Rotation
from laycan.ledger.log import Entry, Log

EVENT = "key.rotated"


def entry_id(rotation: Rotation) -> str:
    return f"{EVENT}/{rotation.old.key_id}/{rotation.new.key_id}"


def announced(log: Log, rotation: Rotation) -> bool:
    return log.index_of(entry_id(rotation)) is not None


def announce(log: Log, rotations: Iterable[Rotation], source: str, operator: str, now: int) -> list[str]:
    """Appends what the log does not hold yet, at once durable; the ids of what was appended. Raises as `Log.append` does.

    `source` is the CloudEvents source of this cluster, `operator` the id of the trust file, `now` in Unix seconds.
    """
    fresh = [
        Entry(entry_id(each), _body(each, source, operator, now).encode())
        for each in rotations
        if not announced(log, each)  # the time in the body is another by now
    ]
    return list(log.append(fresh)) if fresh else []


def _body(rotation: Rotation, source: str, operator: str, now: int) -> str:
    data = {
        "use": rotation.use,
        "oldKeyId": rotation.old.key_id,
        "newKeyId": rotation.new.key_id,
        "newPublicKey": base64.b64encode(rotation.new.public_key).decode(),
        "signature": base64.b64encode(rotation.old.sign(rotation.new.public_key)).decode(),
    }
    return operator_event(event_id=entry_id(rotation), name=EVENT, source=source, subject=operator, time=now, data=data)
