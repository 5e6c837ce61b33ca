"""Projection of a ContractInstruction: the act, its digest, and what has become of it.

Read once when it arrives. One that is not as its schema says (it was stored under another) is kept with what is wrong with it, so that
its author is told; it stops nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from laycan.kube.sound import mapping, text_at
from laycan.resources.digest import digest
from laycan.resources.instruction import Act, InstructionSpec
from laycan.resources.times import parse_time
from laycan.resources.validate import instruction_spec

Raw = Mapping[str, Any]
FINAL = frozenset({"Applied", "Rejected"})


@dataclass(frozen=True, slots=True)
class InstructionView:
    """`act` is None where it cannot be read, and `fault` says why. What is final keeps no envelope: nobody looks at it again."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: int
    contract: str  # namespace/name
    act: Act | None
    digest: str  # of the act as it stands; "" where it cannot be read
    signed: bytes = field(repr=False)  # the bytes of the act that a signature must be over
    envelope: str = field(repr=False)
    fault: str
    status: Raw

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def phase(self) -> str:
        return text_at(self.status, "phase")

    @property
    def previous(self) -> str:
        """Digest of the act that it cites, "" for a first one."""
        return (self.act.previous_digest or "") if self.act is not None else ""

    @property
    def effective(self) -> int:
        """Unix seconds; 0 where the act cannot be read."""
        return parse_time(self.act.effective_time) if self.act is not None else 0


def instruction_view(obj: Raw) -> InstructionView:
    meta, spec, status = obj["metadata"], mapping(obj.get("spec")), mapping(obj.get("status"))
    read = instruction_spec(spec)
    act = read.act if isinstance(read, InstructionSpec) else None
    final = text_at(status, "phase") in FINAL
    return InstructionView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=int(meta.get("resourceVersion") or 0),
        generation=int(meta.get("generation") or 0),
        created=parse_time(meta["creationTimestamp"]) if meta.get("creationTimestamp") else 0,
        contract=f"{meta['namespace']}/{text_at(spec, 'contractRef', 'name')}",
        act=act,
        digest=digest(dict(spec["act"])) if act is not None else "",
        signed=rfc8785.dumps(dict(spec["act"])) if act is not None and not final else b"",
        envelope=text_at(spec, "envelope") if not final else "",
        fault="" if isinstance(read, InstructionSpec) else "; ".join(map(str, read[:4])),
        status=status,
    )
