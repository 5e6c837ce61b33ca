"""An account as a GpuMeter, and back. The agent's state file has the same form.

What the spec does not tell, but a new agent needs to go on (NVML's own counters, how many NVLinks there were), stands in an annotation:
so a new pod of the agent, which has no file, proves as much of the time between as a restarted container.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from laycan.agent.account import Account
from laycan.agent.clock import ClockReading
from laycan.agent.findings import Finding, Findings
from laycan.agent.gpu import Gpu
from laycan.agent.missed import Missed
from laycan.agent.registers import Counters, Registers
from laycan.agent.slowdown import Slowdown
from laycan.resources.constants import AGENT_STATE_ANNOTATION, API_VERSION
from laycan.resources.signals import Signal
from laycan.resources.times import format_time, parse_time

Json = dict[str, Any]
_MOST_CODE, _MOST_VALUE = 65_535, 1_000_000_000  # of the CRD


@dataclass(frozen=True, slots=True)
class Author:
    """Who reports, and how often."""

    node: str
    version: str
    report_seconds: int


def meter(account: Account, author: Author, clock: ClockReading | None = None) -> Json:
    """The whole object, as it is created; as a merge patch it replaces all that an earlier one said."""
    return {
        "apiVersion": API_VERSION,
        "kind": "GpuMeter",
        "metadata": {
            "name": author.node,
            "annotations": {AGENT_STATE_ANNOTATION: orjson.dumps(_state(account)).decode()},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": author.node, "uid": account.node_uid}],
        },
        "spec": {
            "nodeUid": account.node_uid,
            "bootId": account.boot_id,
            "driver": account.driver[:64],
            "agent": author.version,
            "sampleSeconds": account.sample_seconds,
            "reportSeconds": author.report_seconds,
            "since": format_time(account.since),
            "at": format_time(account.at),
            "completeSince": format_time(account.complete_since),
            "gpus": [_gpu(account.gpus[uuid]) for uuid in sorted(account.gpus)],
            "findings": [_finding(each) for each in account.findings.listed()],
            "missed": [_missed(each) for each in account.missed],
            "clock": None if clock is None else _clock(clock),
        },
    }


def restored(told: Mapping[str, Any], sample_seconds: int) -> Account:
    """The account that a GpuMeter or a state file tells of, as one whose agent was restarted. Raises ValueError, TypeError or KeyError."""
    spec = told["spec"]
    account = Account(
        node_uid=spec["nodeUid"],
        sample_seconds=sample_seconds,
        since=parse_time(spec["since"]),
        at=parse_time(spec["at"]),
        complete_since=parse_time(spec["completeSince"]),
        boot_id=spec["bootId"],
        enumerated_in=spec["bootId"],
        driver=spec["driver"],
        restarted=True,
        findings=Findings.of(_found(each) for each in spec.get("findings") or ()),
        missed=[_not_sampled(each) for each in spec.get("missed") or ()],
    )
    for each in spec["gpus"]:
        gpu = Gpu.new(each["uuid"], account.at)
        gpu.serial, gpu.board, gpu.product, gpu.strangers = each.get("serial"), each.get("board"), each.get("product"), each["strangers"]
        gpu.registers = _registers(each["registers"])
        account.gpus[gpu.uuid] = gpu
    _go_on(account, (told["metadata"].get("annotations") or {}).get(AGENT_STATE_ANNOTATION))
    return account


def newest(told: Iterable[Mapping[str, Any] | None], node_uid: str, boot_id: str, sample_seconds: int) -> Account | None:
    """The latest account of this machine among these; what cannot be read is passed over.

    A machine is told by its Node's uid ("": not known yet), or by its boot: a Node may be deleted and made anew under a running machine.
    """
    found: list[Account] = []
    for each in told:
        try:
            account = restored(each, sample_seconds) if each is not None else None
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if account is not None and (node_uid in ("", account.node_uid) or boot_id == account.boot_id):
            account.node_uid = node_uid or account.node_uid
            found.append(account)
    return max(found, key=lambda account: account.at, default=None)


def _state(account: Account) -> Json:
    return {
        "uptime": account.uptime,
        "enumeratedIn": account.enumerated_in,
        "gpus": {
            uuid: [gpu.seen, gpu.most_links, gpu.reset, gpu.slowdown.since, gpu.slowdown.nanoseconds, *gpu.counters]
            for uuid, gpu in sorted(account.gpus.items())
        },
    }


def _go_on(account: Account, state: str | None) -> None:
    """Takes over what the annotation says; where it says nothing of use, nothing is known: a rise of 0, and no power."""
    try:
        told = orjson.loads(state or "")
        uptime, boot, gpus = int(told["uptime"]), str(told["enumeratedIn"]), dict(told["gpus"])
        known = {uuid: (int(seen), int(links), bool(reset), Slowdown(int(at), int(ns)), Counters(*counters))
                 for uuid, (seen, links, reset, at, ns, *counters) in gpus.items()}  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return
    account.uptime, account.enumerated_in = uptime, boot
    for uuid, facts in known.items():
        if gpu := account.gpus.get(uuid):
            gpu.seen, gpu.most_links, gpu.reset, gpu.slowdown, gpu.counters = facts


def _gpu(gpu: Gpu) -> Json:
    known = {"serial": gpu.serial, "board": gpu.board, "product": gpu.product}
    of = gpu.registers
    registers = {
        "sampledSeconds": of.sampled_seconds,
        "energyMillijoules": of.energy_millijoules,
        "slowdownMilliseconds": of.slowdown_milliseconds,
        "pcieReplays": of.pcie_replays,
        "uncorrectableErrors": of.uncorrectable_errors,
        "strangerSeconds": of.stranger_seconds,
    }
    named = {key: value[:96] for key, value in known.items() if value is not None}
    return {"uuid": gpu.uuid, **named, "strangers": gpu.strangers, "registers": registers}


def _registers(told: Mapping[str, Any]) -> Registers:
    return Registers(
        told["sampledSeconds"],
        told["energyMillijoules"],
        told["slowdownMilliseconds"],
        told["pcieReplays"],
        told["uncorrectableErrors"],
        told["strangerSeconds"],
    )


def _finding(each: Finding) -> Json:
    found: Json = {"gpu": each.gpu, "signal": each.signal.value, "count": each.count, "start": format_time(each.start)}
    if each.code:
        found["code"] = min(each.code, _MOST_CODE)
    if each.value:
        found["value"] = min(each.value, _MOST_VALUE)
    if each.end is not None:
        found["end"] = format_time(each.end)
    return found


def _found(told: Mapping[str, Any]) -> Finding:
    end = told.get("end")
    return Finding(
        told["gpu"],
        Signal(told["signal"]),
        told.get("code", 0),
        told.get("value", 0),
        told.get("count", 1),
        parse_time(told["start"]),
        None if end is None else parse_time(end),
    )


def _missed(each: Missed) -> Json:
    return {
        "start": format_time(each.start),
        "end": format_time(each.end),
        "sameBoot": each.same_boot,
        "uptimeSeconds": each.uptime_seconds,
        "leastWatts": each.least_watts,
        "mostWatts": each.most_watts,
    }


def _not_sampled(told: Mapping[str, Any]) -> Missed:
    return Missed(
        parse_time(told["start"]),
        parse_time(told["end"]),
        told["sameBoot"],
        told["uptimeSeconds"],
        told["leastWatts"],
        told["mostWatts"],
    )


def _clock(clock: ClockReading) -> Json:
    """Whether it is synchronized is null where nobody can tell, which a merge patch takes for absent."""
    return {"synchronized": clock.synchronized, "offsetMilliseconds": max(-1_000_000_000, min(1_000_000_000, clock.offset_milliseconds))}
