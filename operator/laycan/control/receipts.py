"""When a receipt is due, and how it comes into the status: one for each UTC day of a contract's window, in order, without a gap.

A receipt is issued when the meter has passed the end of its day, together with its event, in one status write; what it proves is handed
to the store of readings before that. Where an outage that was open at midnight is judged otherwise later, its days are corrected first.
Receipts wait while the clock is not to be trusted; delivery and all other events go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import rfc8785

from laycan.control.draft import Draft
from laycan.delivery.metering.reading import parse_counters
from laycan.delivery.metering.served import Bound, Due
from laycan.evidence.books import Period, plus
from laycan.evidence.leaves import leaves
from laycan.evidence.receipt import Content, Subject, incidents, parse_incidents, predicate, restated, sealed, statement
from laycan.kube.world import World
from laycan.ledger.keys import Signer
from laycan_verify.classes import DAY_SECONDS, Class, Counters, Terms
from laycan_verify.classify import Judged


@dataclass(frozen=True, slots=True)
class Seal:
    """What receipts are signed with."""

    signer: Signer
    operator: str  # its id, as the trust file says it
    software_digest: str
    salt: Callable[[str], bytes]  # by the endpoint's key `<namespace>/<name>`, "" for contracts without an exchange
    trusted_clock: Callable[[str, Collection[str]], bool] = lambda endpoint, nodes: True  # the endpoint's, and of the nodes' agents
    kept: dict[str, bytes] = field(default_factory=dict)  # root -> readings that must be stored before the status is written


def issue(draft: Draft, world: World, owed: Due, terms: Terms, seal: Seal | None) -> bool:
    """Issues what is due and has room; True when the receipts reach the end of the window (or nobody signs any)."""
    counters = draft.reading.counters
    if seal is None or counters is None:
        return seal is None
    if not seal.trusted_clock(draft.contract.exchange, {b.node for b in draft.bounds if b.metered_since is not None}):
        return False
    clerk = _Clerk(draft, world, owed, terms, seal)
    while True:
        until = draft.books.opening.until if draft.books.opening else terms.start
        end = max(until, min(terms.end, until - until % DAY_SECONDS + DAY_SECONDS))
        if not clerk.correct(min(end, counters.until)):  # by what is known at the end of this day, as its own receipt will be
            return False
        if until >= terms.end:
            return True
        if end > counters.until or not draft.outbox.room:
            return False
        clerk.close_day(draft.books.opening or Counters(terms.start), end)


@dataclass(frozen=True, slots=True)
class _Clerk:
    draft: Draft
    world: World
    owed: Due
    terms: Terms
    seal: Seal

    def close_day(self, begin: Counters, end: int) -> None:
        """The receipt of [begin.until, end)."""
        books, subject = self.draft.books, self._subject()
        judged = self._judge(begin, end)
        period = _difference(judged.counters, begin)
        past, bounds = books.readings.before(end), [b for b in self.draft.bounds if b.start < end and b.end > begin.until]
        salt = self.seal.salt(self.draft.contract.exchange)
        found = leaves(bounds, past.stretches, self.world.meters, self.terms.lot_gpus, salt)
        content = Content(
            start=begin.until,
            end=end,
            period=period,
            cumulative=judged.counters,
            incidents=incidents(judged.pieces, past.causes),
            leaves=found,
            meter=_kind([b for b in bounds if b.handed_over_at is not None and b.handed_over_at < end]),
            missed_samples=_missed(bounds, self.world, begin.until, end),
        )
        said = predicate(subject, content, self._by())
        self.seal.kept[said["meter"]["rootSha256"]] = rfc8785.dumps([leaf.dump() for leaf in found])
        self.draft.books = books.closed(judged.counters, rfc8785.dumps(said).decode(), self.terms.grace_seconds)
        self._say(said)

    def correct(self, until: int) -> bool:
        """Restates the periods whose outages are judged otherwise by what is known at `until`; False: no room yet."""
        opening = self.draft.books.opening
        if opening is None or not opening.outages:
            return True
        carried = self._judge(opening, max(until, opening.until)).carried
        judged = {outage.lot: outage.cls for outage in carried}
        for place, period in enumerate(self.draft.books.periods):
            if moved := period.moved(judged, self.terms.lot_gpus):
                if not self.draft.outbox.room:
                    return False
                self._restate(place, judged, moved)
        self.draft.books = self.draft.books.settled(carried, self.terms.lot_gpus)
        return True

    def _restate(self, place: int, judged: Mapping[int, Class], moved: Mapping[Class, int]) -> None:
        """The correction of one of the open periods, and what it changes in the totals of later ones."""
        books, subject = self.draft.books, self._subject()
        period = books.periods[place]
        since = {part.lot: part.since for part in period.parts}
        before = orjson.loads(period.said)
        found = [
            each._replace(cls=judged[each.lot])
            if each.lot in since and each.cls in (Class.GRACE, Class.SHORTFALL) and each.start >= since[each.lot]
            else each
            for each in parse_incidents(before["incidents"])
        ]
        quantities, total = (plus(parse_counters(before[name]), moved) for name in ("quantities", "cumulative"))
        said = {**before, **restated(subject, quantities, total, found, before.get("leftOut", 0), self._by()), "corrects": period.sequence}
        parts = tuple(replace(part, cls=judged[part.lot]) for part in period.parts)
        mine = Period(books.sequence + 1, rfc8785.dumps(said).decode(), parts)
        after = tuple(each.later(moved) for each in books.periods[place + 1 :])
        self.draft.books = replace(books, periods=(*books.periods[:place], mine, *after))
        self._say(said)

    def _judge(self, begin: Counters, until: int) -> Judged:
        return self.draft.books.readings.judged(self.terms, until, begin)

    def _subject(self) -> Subject:
        terms, fields = self.draft.contract.spec["terms"], self.draft.fields
        return Subject(
            contract_id=terms["contractId"],
            uid=self.draft.contract.uid,
            terms_digest=fields["termsDigest"],
            product_digest=fields["productDigest"],
            policy_digest=fields["healthPolicyDigest"],
            start=self.terms.start,
            end=self.terms.end,
            lot_gpus=self.terms.lot_gpus,
            product=self.owed.product,
            price=terms.get("price"),
        )

    def _by(self) -> dict[str, str]:
        return {"id": self.seal.operator, "keyId": self.seal.signer.key_id, "softwareDigest": self.seal.software_digest}

    def _say(self, said: Mapping[str, Any]) -> None:
        """Puts the receipt into the outbox, where room was found for it."""
        books = self.draft.books
        made = statement(self._subject(), said, books.sequence + 1, books.head_digest)
        envelope, digest = sealed(made, self.seal.signer)
        if not self.draft.outbox.say("receipt.issued", {"envelope": envelope}):
            raise RuntimeError("a receipt was made for which the outbox has no room")
        self.draft.books = replace(books, sequence=books.sequence + 1, head_digest=digest)


def _kind(bounds: Sequence[Bound]) -> str:
    """Whose word the receipt is, of what was handed over: the agents', the nodes', or both."""
    kinds = {"node" if b.metered_since is None else "agent" for b in bounds}
    partly = any(b.metered_since is not None and b.metered_since > (b.handed_over_at or 0) for b in bounds)
    return "mixed" if len(kinds) > 1 or partly else kinds.pop() if kinds else "node"


def _missed(bounds: Sequence[Bound], world: World, start: int, end: int) -> int:
    """Samples that the agents of its nodes did not take in the period (a count)."""
    count = 0
    for bound in bounds:
        view = world.meters.get(bound.node) if bound.metered_since is not None else None
        for missed in view.missed if view is not None else ():
            seconds = min(end, bound.end, missed.end) - max(start, bound.start, missed.start)
            count += max(0, seconds) // (view.sample_seconds if view else 1)
    return count


def _difference(after: Counters, before: Counters) -> Counters:
    gained = Counter(after.gpu_seconds)
    gained.subtract(before.gpu_seconds)
    if any(amount < 0 for amount in gained.values()):
        raise ArithmeticError(f"a period up to {after.until} has less than nothing of a class: {dict(gained)}")
    return Counters(after.until, {cls: n for cls, n in gained.items() if n}, estimated=after.estimated - before.estimated)
