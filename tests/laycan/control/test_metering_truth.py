"""What is metered against what was: nodes whose truth is known for every second, looked at by an operator that sleeps now and then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from laycan.control import accounting
from laycan.control.status import next_wake
from laycan.delivery.faults import fitness
from laycan.delivery.metering import meter
from laycan.delivery.metering.meter import Account
from laycan.delivery.metering.served import Bound
from laycan.kube import meter_views
from laycan.kube.views import FenceView
from laycan.resources.times import parse_time
from laycan.settings import Settings
from laycan_verify.classes import Class, Counters, Stretch, Terms
from laycan_verify.classify import judge
from tests.laycan.control.desk import HOLDER, T0, Desk
from tests.laycan.control.plant import BEGIN, GPUS, STRETCH, Event, Second, seconds_of

WINDOW = 120
NAMES = ("a", "b", "c")
Place = tuple[int, int]  # lot, second after T0
CAP_PPM = 100_000  # of the day that may be estimated: 12 s of the window


@dataclass(frozen=True)
class Scene:
    """Everything that happens, seconds after T0."""

    events: tuple[Event, ...] = ()
    moves: tuple[tuple[int, str, str, int], ...] = ()  # (when, from, to, seconds until the buyer has it)
    takes: tuple[tuple[int, int, str], ...] = ()  # (when, for how long, node): fence and label name somebody else
    away: tuple[tuple[int, int], ...] = ()  # (from, until) in which the operator is down
    lot_gpus: int = 2
    report: int = 5
    clean: int = 3
    keep: int = 64
    wait: int = 60
    born: tuple[int, int, int] = (-40, -40, -40)  # when the agents of a, b and c first ran
    keen: bool = True  # it looks at every change; else at those of nodes, and when it asked to be woken
    extra: frozenset[int] = frozenset()  # other seconds in which it looks
    deleted: int | None = None


@dataclass
class Reading:
    """One reading of the meter: what each second was counted as, and by which bindings."""

    pieces: list[Stretch]
    account: Account


@dataclass
class Outcome:
    scene: Scene
    desk: Desk
    truth: dict[str, dict[int, Second]]
    access: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # node -> seconds in which it is the buyer's
    counted: dict[Place, tuple[Stretch, Account, int]] = field(default_factory=dict)  # its piece, and the look at which it was read
    looks: list[int] = field(default_factory=list)
    until: dict[int, int] = field(default_factory=dict)  # look -> how far the written meter reads then


class Recorder:
    """Keeps every reading that is made, by its stretch."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, int], Reading] = {}
        self._pieces: list[Stretch] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        plain = Account.take

        def classify(*args: Any) -> Counters:
            judged = judge(*args)
            self._pieces = judged.pieces
            return judged.counters

        def take(account: Account, until: int) -> tuple[Counters, list[Stretch]]:
            counters, stretches = plain(account, until)
            lo = account.reading.until or account.terms.start
            self.made[lo, counters.until] = Reading(self._pieces, account)
            return counters, stretches

        with (
            patch.object(meter, "classify", classify),
            patch.object(Account, "take", take),
            patch.object(meter_views, "SLOWDOWN_SECONDS", STRETCH),
            patch.object(fitness, "SLOWDOWN_HOLDS_SECONDS", STRETCH + 2),
            patch.object(accounting, "Terms", partial(Terms, estimate_cap_ppm=CAP_PPM)),
        ):
            yield


def play(scene: Scene) -> Outcome:
    """Lives through the scene until the contract is over."""
    last = WINDOW + scene.wait + 120
    truth = {
        name: seconds_of(name, list(scene.events), born=born, report=scene.report, clean=scene.clean, keep=scene.keep, end=last)
        for name, born in zip(NAMES, scene.born, strict=True)
    }
    desk = Desk(seconds=WINDOW, gpus=2 * GPUS, lot_gpus=scene.lot_gpus, tolerance={"graceSeconds": 6, "cureSeconds": 30})
    desk.world.products["h100"]["spec"] |= {"health": {"version": "1", "cleanSeconds": scene.clean}}  # type: ignore[index]
    raw = {"leadSeconds": 12, "meterSeconds": 5, "meterLagSeconds": 6, "estimateWaitSeconds": scene.wait, "dwellSeconds": 2}
    desk.settings = Settings.model_validate(raw)
    made = Outcome(scene, desk, truth)
    recorder = Recorder()
    with recorder.recording():
        _Run(made, recorder).live(range(BEGIN, last))
    return made


class _Run:
    def __init__(self, made: Outcome, recorder: Recorder) -> None:
        self.made, self.recorder = made, recorder
        self.scene, self.desk = made.scene, made.desk
        self.where = {"a": "a", "b": "b"}  # half of the contract -> node
        self.gets: list[tuple[int, str]] = [(-10, "a"), (-10, "b")]  # (when, node) the buyer is given it
        self.holds: set[str] = set()
        self.taken: set[str] = set()
        self.moves = sorted(self.scene.moves)
        self.wake: int | None = None
        self.shown: Any = None

    def live(self, span: range) -> None:
        for t in span:
            away = any(a <= t < b for a, b in self.scene.away)
            acted = not away and self._act(t)
            changed = self._show(t, away)
            if away:
                continue
            due = self.wake is not None and self.wake <= T0 + t
            if t == BEGIN or acted or due or t in self.scene.extra or changed == "node" or (changed and self.scene.keen):
                self._look(t)
            if self.desk.phase in ("Delivered", "Terminated"):
                return

    def _act(self, t: int) -> bool:
        """What the operator itself does: plans, deliveries, deletion."""
        acted = False
        if t == BEGIN:
            self._plan(t)
        while self.moves and self.moves[0][0] <= t and 0 <= t < WINDOW:
            _, source, target, delay = self.moves.pop(0)
            half = next((half for half, node in self.where.items() if node == source), None)
            if half is not None and target not in self.where.values():
                self.where[half] = target
                self.gets.append((t + delay, target))
                self._plan(t)
                acted = True
        for when, node in list(self.gets):
            if when <= t:
                self.gets.remove((when, node))
                self.holds.add(node)
                acted = True
        if self.scene.deleted is not None and t >= max(0, self.scene.deleted) and not self.desk.contract.deleting:
            self.desk.delete()
            acted = True
        return acted

    def _plan(self, t: int) -> None:
        self.desk.bind(T0 + t, *((node, T0 + max(0, t), self.desk.end) for node in self.where.values()), gpus=GPUS)

    def _show(self, t: int, away: bool) -> str:
        """The world as the API server has it now; what changed in it."""
        world, fence = self.desk.world, {}
        for name, seconds in self.made.truth.items():
            second = seconds[t]
            taken = any(start <= t < start + length and name == node for start, length, node in self.scene.takes) and not away
            taken |= name in self.taken and not second.heard  # nobody gives a node away that is not there
            (self.taken.add if taken else self.taken.discard)(name)
            holder = ("other" if taken else HOLDER) if name in self.holds else ""
            if holder == HOLDER:
                self.made.access[name].add(t)
            fence[name] = holder
            world.nodes[name] = replace(second.node, holder=holder)
            world.meters.pop(name, None)
            if second.meter is not None:
                world.meters[name] = second.meter
            if away:
                world.last_seen.clear()
            elif not second.node.ready:
                world.last_seen[name], world.lost[name] = T0 + second.heartbeat, second.node.ready_since
        world.fence = FenceView(1, {name: holder for name, holder in fence.items() if holder}, {})
        shown = dict(world.nodes), dict(world.meters)
        before, self.shown = self.shown, shown
        if before is None or before[0] != shown[0]:
            return "node"
        return "meter" if before[1] != shown[1] else ""

    def _look(self, t: int) -> None:
        made, desk = self.made, self.desk
        before = _until(desk)
        self.recorder.made.clear()
        desk.at(T0 + t)
        made.looks.append(t)
        after = _until(desk)
        made.until[t] = after - T0
        if after > before:
            reading = self.recorder.made[before, after]
            for piece in reading.pieces:
                for second in range(piece.start, piece.end):
                    assert (piece.lot, second - T0) not in made.counted, "read twice"
                    made.counted[piece.lot, second - T0] = piece, reading.account, t
        self.wake = next_wake(desk.contract, T0 + t, desk.world, desk.settings)


def _until(desk: Desk) -> int:
    return parse_time(desk.status["meter"]["until"]) if "meter" in desk.status else T0


# --- claims


def bound_of(account: Account, lot: int, second: int) -> Bound | None:
    """The binding that gave the lot at that second (after T0) to the buyer."""
    return next((b for b in account.bounds if lot in b.lots and b.start <= T0 + second < b.end and _had(b, second)), None)


def _had(bound: Bound, second: int) -> bool:
    return bound.handed_over_at is not None and bound.handed_over_at <= T0 + second


def check_complete(made: Outcome) -> None:
    """Every second of every lot was counted once, and the written quantities are their sum."""
    lots = 2 * GPUS // made.scene.lot_gpus
    q = dict(made.desk.status["quantities"])
    end = WINDOW if made.scene.deleted is None else made.until[made.looks[-1]]
    estimated = q.pop("estimatedGpuSeconds", 0)
    assert q["contractedGpuSeconds"] == end * 2 * GPUS == sum(q.values()) - end * 2 * GPUS
    assert made.counted.keys() == {(lot, t) for lot in range(lots) for t in range(end)}
    seconds = [piece for piece, _, _ in made.counted.values()]
    assert q["deliveredGpuSeconds"] == made.scene.lot_gpus * sum(piece.cls is Class.DELIVERED for piece in seconds)
    assert estimated == made.scene.lot_gpus * sum(piece.estimated for piece in seconds)


def check_truth(made: Outcome) -> None:
    """No second is counted as delivered that was not."""
    proven: dict[tuple[str, int], int] = defaultdict(int)
    for (lot, t), (piece, account, read_at) in made.counted.items():
        if piece.cls is not Class.DELIVERED:
            continue
        bound = bound_of(account, lot, t)
        assert bound is not None, (lot, t, "nobody had it")
        second = made.truth[bound.node][t]
        assert t in made.access[bound.node], (lot, t, bound.node, "no access", read_at)
        assert second.heard or not told(made, bound.node, t), (lot, t, bound.node, "kubelet not heard", read_at)
        if not piece.estimated and agent_counts(made, bound, t, read_at):
            assert second.sampled, (lot, t, bound.node, "not sampled", read_at)
            proven[bound.node, t] += made.scene.lot_gpus
    for (name, t), gpus in proven.items():
        assert gpus <= made.truth[name][t].fit, (name, t, "unfit")


def told(made: Outcome, node: str, t: int) -> bool:
    """Whether the API server can tell that the kubelet was not heard: it shows the latest change of the Ready condition alone."""
    seconds = made.truth[node]
    begun = next(at for at in range(t, BEGIN, -1) if seconds[at - 1].heard)
    over = next((at for at in range(t, max(seconds)) if seconds[at].heard), max(seconds))
    look = next((look for look in made.looks if look >= begun and (look >= over or not seconds[look].node.ready)), None)
    return look is not None and (look < over or seconds[look].node.ready)


def agent_counts(made: Outcome, bound: Bound, t: int, read_at: int) -> bool:
    """Whether the operator had seen a meter of the node by the time that it read this second, from before that second on."""
    if bound.metered_since is not None and bound.metered_since <= T0 + t:
        return True
    meters = [made.truth[bound.node][look].meter for look in made.looks if look <= read_at and T0 + look >= (bound.handed_over_at or 0)]
    return any(meter is not None and meter.since <= T0 + t for meter in meters)


def check_cap(made: Outcome) -> None:
    """No lot is estimated beyond its share of the day."""
    for lot in range(2 * GPUS // made.scene.lot_gpus):
        assert sum(piece.estimated for (each, _), (piece, _, _) in made.counted.items() if each == lot) <= WINDOW * CAP_PPM // 1_000_000


def check_events(made: Outcome) -> None:
    """Each flip is told once; interruptions and returns, openings and cures alternate; nothing opens within grace."""
    told = made.desk.told
    assert [int(event["sequence"]) for event in told] == list(range(1, len(told) + 1))
    access, short = False, False
    for event in told:
        name, change = event["type"].split(".", 2)[2].removesuffix(".v1"), event["data"]["change"]
        if name in ("delivery.started", "delivery.restored", "delivery.substituted"):
            assert not access
            access = True
        elif name == "delivery.interrupted":
            assert access
            access = False
        elif name == "shortfall.opened":
            assert not short
            short = True
            assert parse_time(event["time"]) - parse_time(change["since"]) > 6, event
        elif name == "shortfall.cured":
            assert short
            short = False


def check_onsets(made: Outcome) -> None:
    """An interruption is told as having begun no later than the last good sample, or heartbeat, before what takes the lot away by then."""
    restored = 0
    for event in made.desk.told:
        name, now = event["type"].removeprefix("dev.laycan."), parse_time(event["time"]) - T0
        if name in ("delivery.restored.v1", "delivery.started.v1"):
            restored = now
        elif name == "delivery.interrupted.v1":
            since = parse_time(event["data"]["change"]["since"]) - T0
            for lot in event["data"]["change"]["lots"]:
                for onset in _known_onsets(made, lot, now):
                    assert since <= max(onset, restored), (event, lot, onset)


def _known_onsets(made: Outcome, lot: int, now: int) -> Iterator[int]:
    """When what the API server shows of the lot's node, and still takes a whole node's lot away, began."""
    bounds = [bound_of(made.counted[lot, t][1], lot, t) for t in (now - 1, now) if (lot, t) in made.counted]
    for bound in bounds if made.scene.lot_gpus == GPUS else []:
        if bound is None or bound.metered_since is None:
            continue
        second = made.truth[bound.node][now]
        had = max(bound.handed_over_at or 0, bound.metered_since) - T0
        found = second.meter.findings if second.meter is not None else ()
        yield from (max(each.start - T0, had) for each in found if each.end is None)
        if not second.node.ready and not second.heard:
            yield max(second.heartbeat, had)


def truly(made: Outcome, lot: int, t: int) -> bool:
    """Whether the buyer had the lot then, as far as bindings, agents and the API server can tell."""
    _, account, _ = made.counted[lot, t]
    bound = bound_of(account, lot, t)
    if bound is None or bound.handed_over_at is None:
        return False
    second = made.truth[bound.node][t]
    enough = second.fit >= (bound.lots.index(lot) + 1) * made.scene.lot_gpus
    return t in made.access[bound.node] and second.heard and second.sampled and enough


def check_provable(made: Outcome) -> None:
    """What was delivered and sampled is counted as such, but for one sample period before each outage of the lot."""
    for (lot, t), (piece, _, read_at) in made.counted.items():
        if truly(made, lot, t) and (lot, t + 1) in made.counted and truly(made, lot, t + 1):
            assert piece.cls is Class.DELIVERED, (lot, t, read_at)
            assert not piece.estimated


# --- scenes


def _events(kinds: Collection[str], most: int, latest: int = WINDOW) -> st.SearchStrategy[tuple[Event, ...]]:
    event = st.builds(
        Event,
        st.sampled_from(sorted(kinds)),
        st.sampled_from(NAMES),
        st.integers(BEGIN, latest),
        st.one_of(st.integers(1, 12), st.integers(1, 60), st.just(1_000)),
        st.integers(0, GPUS - 1),
        st.integers(1, 5),
    )
    return st.lists(event, max_size=most).map(tuple)


ALL = ("fatal", "missing", "slow", "stopped", "mute", "lost", "deleted", "unheard", "reboot")
pauses = st.lists(st.tuples(st.integers(-8, WINDOW + 40), st.integers(1, 80)).map(lambda p: (p[0], p[0] + p[1])), max_size=2).map(tuple)
move = st.tuples(st.integers(1, WINDOW - 1), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 9))
moves = st.lists(move, max_size=3).map(tuple)
scenes = st.builds(
    Scene,
    events=_events(ALL, 6),
    moves=moves,
    takes=st.lists(st.tuples(st.integers(1, WINDOW), st.integers(1, 20), st.sampled_from(NAMES)), max_size=1).map(tuple),
    away=pauses,
    lot_gpus=st.sampled_from([1, 2]),
    report=st.sampled_from([5, 8]),
    clean=st.sampled_from([0, 3, 10]),
    keep=st.sampled_from([1, 64]),
    wait=st.sampled_from([10, 60]),
    born=st.tuples(*(st.sampled_from([-40, -5, 30, 1_000]) for _ in NAMES)),
    keen=st.booleans(),
    extra=st.frozensets(st.integers(BEGIN, WINDOW + 60), max_size=10),
    deleted=st.one_of(st.none(), st.none(), st.none(), st.integers(1, WINDOW)),
)


@given(scenes)
@examples(max_examples=80, deadline=None)
def test_never_more_than_was_delivered(scene: Scene) -> None:
    """Whatever breaks, falls silent or is deleted, and however long the operator was away."""
    made = play(scene)
    assert made.desk.phase in ("Delivered", "Terminated"), made.desk.phase
    check_complete(made)
    check_truth(made)
    check_cap(made)
    check_events(made)
    check_onsets(made)


QUIET = ("fatal", "slow", "stopped", "mute")
brief = st.builds(
    Event, st.sampled_from(QUIET), st.sampled_from(NAMES), st.integers(1, WINDOW), st.integers(1, 25), st.integers(0, GPUS - 1)
)
calm = st.builds(
    Scene,
    events=st.lists(brief, max_size=6).map(tuple),
    lot_gpus=st.sampled_from([1, 2]),
    report=st.sampled_from([5, 8]),
    clean=st.sampled_from([0, 3, 10]),
    keen=st.booleans(),
    extra=st.frozensets(st.integers(BEGIN, WINDOW + 60), max_size=10),
)


@given(calm, moves, pauses)
@examples(max_examples=50, deadline=None)
def test_what_is_provable_counts(scene: Scene, moves: Any, away: Any) -> None:
    """Where nodes stay Ready and agents come back in time, nothing that they sampled is lost, whoever was away meanwhile."""
    made = play(replace(scene, moves=moves, away=tuple((max(0, a), max(0, b)) for a, b in away)))
    check_complete(made)
    check_truth(made)
    check_provable(made)
    check_onsets(made)


@given(calm, pauses, st.frozensets(st.integers(BEGIN, WINDOW + 60), max_size=10), st.booleans())
@examples(max_examples=30, deadline=None)
def test_whenever_it_is_looked_at(scene: Scene, away: Any, extra: frozenset[int], keen: bool) -> None:
    """Another operator that was away, or looked at other instants, counts every second the same."""
    one = play(scene)
    two = play(replace(scene, away=tuple((max(0, a), max(0, b)) for a, b in away), extra=extra, keen=keen))
    assert {key: piece.cls for key, (piece, _, _) in one.counted.items()}.keys() == two.counted.keys()
    for key, (piece, _, _) in one.counted.items():
        other = two.counted[key][0]
        assert (piece.cls is Class.DELIVERED, piece.estimated) == (other.cls is Class.DELIVERED, other.estimated), key
    assert one.desk.quantities == two.desk.quantities


gone = st.builds(Event, st.sampled_from(["deleted", "lost", "mute"]), st.sampled_from("ab"), st.integers(1, WINDOW), st.integers(1, 80))


@given(calm, st.lists(gone, min_size=1, max_size=3))
@examples(max_examples=30, deadline=None)
def test_who_hides_his_meter_gains_nothing(scene: Scene, hidden: list[Event]) -> None:
    """Deleted, mute or without its history: no second of a lot counts as sampled that would not have been delivered, nor more in all.

    Slowdown is left out: of a stretch that nobody tells of any more, what was sampled counts.
    """
    scene = replace(scene, events=tuple(event for event in scene.events if event.kind != "slow"))
    open_to_all = {place: piece for place, (piece, _, _) in play(scene).counted.items()}
    made = play(replace(scene, events=(*scene.events, *hidden)))
    for place, (piece, _, _) in made.counted.items():
        if piece.cls is Class.DELIVERED and not piece.estimated:
            assert open_to_all[place].cls is Class.DELIVERED, place
    had = sum(piece.cls is Class.DELIVERED for piece, _, _ in made.counted.values())
    assert had <= sum(piece.cls is Class.DELIVERED for piece in open_to_all.values())
