"""How much: the steps that are arithmetic, on the quantities and on the readings that they were made from (evidence.md 6)."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile
from math import floor
from typing import Any

from laycan_verify.bundle import Bundle, Receipt
from laycan_verify.classes import Class, Stretch
from laycan_verify.classify import judge
from laycan_verify.forms import COUNTED
from laycan_verify.merkle import root
from laycan_verify.steps import NOT, Findings
from laycan_verify.strict import canonical, clock, need
from laycan_verify.trust import Trust


def quantities(bundle: Bundle, trust: Trust) -> Findings:
    """Classes add up to what was contracted, incidents to what was not delivered, periods to the total, and credit is its shortfall's."""
    total, periods = Counter[str](), dict[int, Any]()
    firm = bundle.fields["terms"].get("firmness", {}).get("class") != "Interruptible"
    for receipt in bundle.receipts:
        says, (start, end) = receipt.says, receipt.period
        mine, due = says["quantities"], (end - start) * bundle.terms.lots * bundle.terms.lot_gpus
        receipt.need(mine["contractedGpuSeconds"] == due, f"quantities.contractedGpuSeconds is not {due}")
        receipt.need(sum(mine[field] for field in COUNTED) == due, "quantities do not add up to contractedGpuSeconds")
        receipt.need(mine["estimatedGpuSeconds"] <= mine["deliveredGpuSeconds"], "quantities.estimatedGpuSeconds is more than delivered")
        receipt.need(not (firm and mine["curtailedGpuSeconds"]), "quantities.curtailedGpuSeconds: a Firm contract cannot be curtailed")
        for field, classes in list(COUNTED.items())[1:]:
            told = sum(incident["gpuSeconds"] for incident in says["incidents"] if incident["class"] in classes)
            whole = told == mine[field] or (told < mine[field] and "leftOut" in says)
            receipt.need(whole, f"incidents add up to {told}, and quantities.{field} is {mine[field]}")
        total.update(mine)
        total.subtract(periods.get(start, {}))
        periods[start] = mine
        after = [other for at, other in periods.items() if at > start]
        for field, amount in says["cumulative"].items():
            right = total[field] - sum(other[field] for other in after)
            receipt.need(amount == right, f"cumulative.{field} is {amount}, and the periods add up to {right}")
        owed = _credit(bundle, says["cumulative"]["shortfallGpuSeconds"])
        receipt.need(says.get("credit") == owed, f"credit is not that of all shortfall so far, {owed}")
    upheld = sum(i["gpuSeconds"] for each in bundle.latest for i in each.says["incidents"] if i["class"] == Class.FORCE_MAJEURE)
    delivered, of = total["deliveredGpuSeconds"], total["contractedGpuSeconds"]
    due = of - total["curtailedGpuSeconds"] - total["buyerCausedGpuSeconds"] - upheld
    availability = f"{delivered * 10**6 // due} ppm" if due else "all"
    yield f"{bundle.name}: {delivered} of {of} GPU-seconds delivered, availability {availability}; the sums are right"
    claimed = {incident["class"] for receipt in bundle.latest for incident in receipt.says["incidents"]}
    claimed |= {row["class"] for rows in bundle.readings.values() for row in rows}
    claimed |= {COUNTED[field][0] for field in ("curtailedGpuSeconds", "buyerCausedGpuSeconds") if total[field]}
    for cls in sorted(claimed & {Class.CURTAILED, Class.BUYER_CAUSED, Class.FORCE_MAJEURE, Class.PLANNED_OUTAGE}):
        yield f"{NOT}{bundle.name}: whether what is {cls} is rightly so: no notice or instruction is part of a bundle"


def _credit(bundle: Bundle, shortfall_gpu_seconds: int) -> dict[str, str] | None:
    """Indicative damages by the price of the terms, rounded half up to hundredths; None without a price."""
    price = bundle.fields["terms"].get("price")
    if price is None:
        return None
    exact = Fraction(price["amount"]) * price.get("shortfallMultiplePpm", 1_000_000) * shortfall_gpu_seconds / (3600 * 1_000_000)
    hundredths = floor(exact * 100 + Fraction(1, 2))
    return {"amount": f"{hundredths // 100}.{hundredths % 100:02d}", "currency": price["currency"]}


def readings(bundle: Bundle, trust: Trust) -> Findings:
    """The readings and their grades are those that the receipts name, and `classify` makes the quantities of them."""
    for receipt in bundle.receipts:
        if receipt.readings in bundle.readings:
            _named(bundle, receipt)
    unknown = bundle.fields.get("readings", {}).keys() - {receipt.readings for receipt in bundle.receipts}
    need(not unknown, f"{bundle.name}: readings.{min(unknown, default='')} are of no receipt")
    known = list(takewhile(lambda receipt: receipt.readings in bundle.readings, bundle.latest))
    for receipt, counted in zip(known, _counted(bundle, known), strict=True):
        for field, amount in counted.items():
            said = receipt.says["quantities"][field]
            receipt.need(said == amount, f"quantities.{field} is {said}, and the readings give {amount}")
    yield f"{bundle.name}: the quantities of {len(known)} periods are what the readings give"
    for grade in sorted({each["product"] for receipt in bundle.latest for each in receipt.says["substitutions"]}):
        yield f"{NOT}{bundle.name}: whether {grade!r} may stand for {bundle.fields['product']['name']!r} by the terms"
    if len(known) < len(bundle.latest):
        yield f"{NOT}{bundle.name}: quantities from {clock(bundle.latest[len(known)].period[0])} on, for want of readings"


def _named(bundle: Bundle, receipt: Receipt) -> None:
    """The readings that were given are those that the receipt names, of its period, and on its devices."""
    says, rows, terms = receipt.says, bundle.readings[receipt.readings], bundle.terms
    leaves = [canonical(row, receipt.name) for row in bundle.raw.get("readings", {}).get(receipt.readings, [])]
    receipt.need(root(leaves).hex() == receipt.readings, "meter.rootSha256 is not the root of the readings")
    receipt.need(len(rows) == says["meter"]["readings"], f"meter.readings is not their number, {len(rows)}")
    receipt.need(rows == sorted(rows, key=lambda row: (row["lot"], row["start"])), "the readings are not in order of lot and start")
    for row in rows:
        named, delivered = row.get("devices", []), row["class"] == Class.DELIVERED
        own = row["lot"] < terms.lots and receipt.period[0] <= row["start"] < row["end"] <= receipt.period[1]
        whole = len(named) == len(set(named)) in (0, terms.lot_gpus) and (delivered or not (named or row.get("estimated")))
        which = f"the reading of lot {row['lot']} from {clock(row['start'])}"
        receipt.need(own, f"{which} is not of its period and lots")
        receipt.need(whole, f"{which} has not the devices of a lot, {terms.lot_gpus}, or delivers nothing")
    grades = {row["product"] for row in rows if "product" in row} - {bundle.fields["product"]["name"]}
    told = grades == {each["product"] for each in says["substitutions"]} or "leftOut" in says
    receipt.need(told, f"substitutions do not name the grades of the readings, {sorted(grades)}")
    devices = sorted({device for row in rows for device in row.get("devices", [])})
    right = {"commitmentRoot": root(map(bytes.fromhex, devices)).hex(), "count": len(devices)}
    receipt.need(says["devices"] == right, "devices are not those of the readings")


def _counted(bundle: Bundle, known: Sequence[Receipt]) -> Iterator[dict[str, int]]:
    """The quantities of each period, as all readings together give them; `known` are the first periods of the contract.

    An outage that lasts at their end and is within grace may become Excused or Shortfall: later readings decide, a correction knows them.
    """
    terms, starts, sums = bundle.terms, [receipt.period[0] for receipt in known], [Counter[str]() for _ in known]
    rows = [row for receipt in known for row in bundle.readings[receipt.readings]]
    stretches = list[Stretch]()  # days that say the same are one stretch
    for row in sorted(rows, key=lambda row: (row["lot"], row["start"])):
        new = Stretch(row["lot"], row["start"], row["end"], Class(row["class"]), row.get("estimated", False))
        goes_on = stretches and replace(stretches[-1], start=new.start, end=new.end) == new and stretches[-1].end == new.start
        stretches[-1:] = [replace(stretches[-1], end=new.end)] if goes_on else [*stretches[-1:], new]
    judged = judge(stretches, terms, until=known[-1].period[1] if known else terms.start)
    lasting = {outage.lot: outage.since for outage in judged.counters.outages if outage.seconds <= terms.grace_seconds}
    for piece in judged.pieces:
        undecided = piece.cls in (Class.GRACE, Class.SHORTFALL) and piece.start >= lasting.get(piece.lot, piece.end)
        for place in range(bisect_right(starts, piece.start) - 1, bisect_left(starts, piece.end)):
            start, end = known[place].period
            amount = (min(piece.end, end) - max(piece.start, start)) * terms.lot_gpus
            sums[place].update({"undecided" if undecided else piece.cls: amount, "estimated": amount * piece.estimated})
    for receipt, found in zip(known, sums, strict=True):
        counted = {field: sum(found[cls] for cls in classes) for field, classes in COUNTED.items()}
        excused = max(0, min(receipt.says["quantities"]["excusedGpuSeconds"] - counted["excusedGpuSeconds"], found["undecided"]))
        counted["excusedGpuSeconds"] += excused
        counted["shortfallGpuSeconds"] += found["undecided"] - excused
        yield {**counted, "estimatedGpuSeconds": found["estimated"]}


def deliveries(bundles: Sequence[Bundle], trust: Trust) -> Findings:
    """No device is delivered twice in one second, to whomever."""
    rows = [(b.contract, r.name, row) for b in bundles for r in b.latest for row in b.readings.get(r.readings, [])]
    claims = [(each, row["start"], row["end"], (whose, row["lot"]), name) for whose, name, row in rows for each in row.get("devices", [])]
    last, until, holder, where = "", 0, object(), ""  # device, and of its claims so far the one that lasts longest
    for device, start, end, who, name in sorted(claims):
        once = device != last or start >= until or who == holder
        need(once, f"{name}: readings: device {device} is delivered at {clock(start)} and later, and so it is in {where}")
        if device != last or end > until:
            last, until, holder, where = device, end, who, name
    yield f"{len({claim[0] for claim in claims})} devices, none of them delivered twice in one second"
    if nameless := sum(row["class"] == Class.DELIVERED and not row.get("devices") for _, _, row in rows):
        yield f"{NOT}double delivery of {nameless} readings that name no device"
    if unknown := sum(receipt.readings not in bundle.readings for bundle in bundles for receipt in bundle.latest):
        yield f"{NOT}double delivery in {unknown} periods, for want of readings"


def complete(bundle: Bundle, trust: Trust) -> Findings:
    """Readings of every period were given."""
    for receipt in bundle.latest:
        receipt.need(receipt.readings in bundle.readings, "meter.rootSha256: these readings were not given")
    yield f"{bundle.name}: readings of all periods were given"
