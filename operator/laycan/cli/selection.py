"""What a what-if is about, as it is written on a command line: which nodes, when, and how many.

    NODE[,NODE...] | rack=R | fabric=F | zone=Z | product=P | all     then  @TIME  @START/END  or nothing = from now on
    PRODUCT=COUNT[:rack=R]                                            nodes that are added

What cannot be read raises BadInputError with the option, what is wrong and what would be right.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from laycan.planning.manifests import BadInputError
from laycan.resources.times import format_time, parse_time
from laycan_solver.kinds import Scope
from laycan_solver.model import FOREVER, Problem

LEVELS = {"rack": Scope.RACK, "fabric": Scope.FABRIC, "zone": Scope.ZONE}
MOST_ADDED = 10_000  # nodes
MOST_NAMED = 8  # names that are known, where one is not


@dataclass(frozen=True, slots=True)
class Selection:
    """Nodes in [start, end), and the words in which they were asked for."""

    words: str
    nodes: tuple[str, ...]
    start: int
    end: int

    @property
    def when(self) -> str:
        """For people."""
        return f"from {format_time(self.start)} on" if self.end == FOREVER else f"from {format_time(self.start)} to {format_time(self.end)}"


@dataclass(frozen=True, slots=True)
class Addition:
    """`count` nodes like those of a product, in a rack or in one of their own."""

    product: str
    count: int
    rack: str | None


def selection_of(option: str, text: str, problem: Problem, *, window: bool = False) -> Selection:
    """What `text`, the value of that option, selects. `window`: it must say from when to when."""
    who, at, when = text.partition("@")
    start, end = _times(option, text, when, problem.now) if at else (problem.now, FOREVER)
    if window and end == FOREVER:
        raise _bad(option, text, f"says no end; write {who or 'rack=R'}@START/END, such as {who or 'rack=R'}@{_example(problem.now)}")
    return Selection(who, tuple(sorted(_nodes(option, text, who, problem))), start, end)


def addition_of(option: str, text: str, problem: Problem) -> Addition:
    """What `text`, such as `h100=8:rack=r12`, adds."""
    first, colon, rest = text.partition(":")
    product, _, count = first.partition("=")
    if not (count.isascii() and count.isdigit() and 0 < int(count) <= MOST_ADDED):
        raise _bad(option, text, f"is not PRODUCT=COUNT or PRODUCT=COUNT:rack=R, with a count from 1 to {MOST_ADDED}")
    names = [p.name for p in problem.products]
    if product not in names:
        raise _bad(option, text, f"no product {product} is given{_instead(product, names)}")
    word, _, rack = rest.partition("=")
    if colon and (word != "rack" or not rack):
        raise _bad(option, text, f"{rest} is not rack=R, the rack in which they are to stand")
    return Addition(product, int(count), rack or None)


def level_of(option: str, text: str) -> Scope | None:
    """`node` (None), `rack`, `fabric` or `zone`."""
    if text != "node" and text not in LEVELS:
        raise _bad(option, text, f"is none of node, {', '.join(LEVELS)}{_instead(text, ['node', *LEVELS])}")
    return LEVELS.get(text)


def _times(option: str, text: str, when: str, now: int) -> tuple[int, int]:
    first, slash, last = when.partition("/")
    try:
        start, end = parse_time(first), parse_time(last) if slash else FOREVER
    except ValueError as error:
        raise _bad(option, text, f"{error}") from None
    if end <= start:
        raise _bad(option, text, "ends before it begins; the first time is the start, the second the end")
    if end <= now:
        raise _bad(option, text, f"is over at {format_time(now)}, for which the plan is; ask for a later time, or give --now")
    return max(start, now), end


def _nodes(option: str, text: str, who: str, problem: Problem) -> list[str]:
    word, equals, name = who.partition("=")
    if who == "all":
        return [n.name for n in problem.nodes]
    if not equals:
        return _named(option, text, who, {n.name for n in problem.nodes})
    if word == "product":
        grades = next((p.grades for p in problem.products if p.name == name), None)
        if grades is None:
            raise _bad(option, text, f"no product {name} is given{_instead(name, [p.name for p in problem.products])}")
        return [n.name for n in problem.nodes if n.grade in grades]
    if word not in LEVELS:
        raise _bad(
            option, text, f"{word}= is none of {', '.join(f'{w}=' for w in (*LEVELS, 'product'))}{_instead(word, [*LEVELS, 'product'])}"
        )
    found = [n.name for n in problem.nodes if n.domains[LEVELS[word] - 1] == name]
    if not found:
        raise _bad(option, text, f"no node is in {word} {name}{_instead(name, {n.domains[LEVELS[word] - 1] for n in problem.nodes})}")
    return found


def _named(option: str, text: str, who: str, known: Collection[str]) -> list[str]:
    names = [name.strip() for name in who.split(",") if name.strip()]
    if not names:
        raise _bad(option, text, "names no node; write NODE, rack=R, zone=Z, product=P or all before the @")
    for name in names:
        if name not in known:
            raise _bad(option, text, f"no node {name} is given{_instead(name, known)}")
    return names


def _instead(name: str, known: Collection[str]) -> str:
    """What to do about a name that is not known."""
    close = get_close_matches(name, sorted(known), n=1)
    if close:
        return f"; did you mean {close[0]}?"
    some = sorted(k for k in known if not k.startswith("node/"))
    return f"; there are {', '.join(some[:MOST_NAMED])}{' and more' if len(some) > MOST_NAMED else ''}" if some else ""


def _example(now: int) -> str:
    return f"{format_time(now)}/{format_time(now + 4 * 3600)}"


def _bad(option: str, text: str, why: str) -> BadInputError:
    return BadInputError([f"{option} {text}: {why}"])
