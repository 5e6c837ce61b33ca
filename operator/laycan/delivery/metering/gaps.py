"""What an API server can prove about access to a node: now, and since when.

A lot is delivered while its node is Ready, shows enough allocatable GPUs, and is the holder's by fence and label. The API shows only
the present and when the Ready condition last changed, so history is kept in the contract's status: a *gap* is a stretch in which a
node that had been handed over did not serve certain lots.

Unknown history counts against the operator. After a restart it is only known that a node has been Ready since its condition's
last change; what lies between the meter and that change is a gap. A deleted node proves nothing after the meter's last reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from laycan.delivery.devices.exact import has_devices
from laycan.delivery.metering.reading import Gap, Reading
from laycan.delivery.metering.served import Bound
from laycan.delivery.metering.sharing import Sharing
from laycan.kube.views import NodeView
from laycan.kube.world import World

CONFIRM_SECONDS = 120  # so long the meter waits for the last heartbeat of a node that turned NotReady


def possessed(
    world: World, bound: Bound, holder: str, lot_gpus: int, key: str, now: int, sharing: Sharing | None = None
) -> tuple[int, ...]:
    """The lots of a binding of contract `key` that the holder has at this moment.

    Access begins when fence and label both name the holder. Once begun it lasts until one of them names somebody else or both are
    gone: a NodeFence that is deleted and made again takes the GPUs from nobody. Where a node has fewer healthy GPUs than were sold on it,
    those that come first have theirs (`sharing`; without one the binding is alone of its contract).
    """
    node = world.nodes.get(bound.node)
    if node is None or not node.managed or not world.alive(node):
        return ()
    if bound.exact:
        contract = world.contracts[key]
        return bound.lots if has_devices(world, bound, holder, contract.name, contract.uid) else ()
    owners = [node.holder, world.fence.nodes.get(bound.node, "") if world.fence else ""]
    named = {owner for owner in owners if owner}
    if named != {holder} or (bound.handed_over_at is None and "" in owners):
        return ()
    ahead = (sharing or Sharing(world, (bound,), key)).ahead(bound, now)
    return bound.lots[: max(0, world.gpus(node) - ahead) // lot_gpus]


def find_gaps(
    world: World, bounds: Sequence[Bound], reading: Reading, holder: str, lot_gpus: int, key: str, now: int, *, closing: bool = False
) -> tuple[Gap, ...]:
    """The gaps as they are known now: opened, set back to their onset, closed. The same world and time change nothing more.

    `closing`: nobody has looked since the last bindings ended, so what their nodes went through before is not known any better than
    after a restart.
    """
    sharing = Sharing(world, bounds, key)
    found, still_open = defaultdict[str, list[Gap]](list), defaultdict[str, list[Gap]](list)  # by node
    for gap in reading.gaps:
        (still_open if gap.end is None else found)[gap.node].append(gap)
    for bound in bounds:
        if bound.handed_over_at is None or now < bound.start:
            continue
        closed, lasting = found[bound.node], still_open[bound.node]
        if bound.end <= now:
            known = (*closed, *lasting)
            closed[:] = [_set_back(world, bound, gap, known, reading.until) for gap in closed]
            lasting[:] = [_set_back(world, bound, gap, known, reading.until) for gap in lasting]
            closed += _late_news(world, bound, (*closed, *lasting), reading.until, closing=closing or bound.end == now)
            continue
        mine = [g for g in lasting if set(g.lots) <= set(bound.lots)]
        still_open[bound.node] = [g for g in lasting if g not in mine]
        past = [g.end for g in closed if g.end is not None and not set(g.lots).isdisjoint(bound.lots)]
        floor = max(reading.until, bound.start, bound.handed_over_at, *past, 0)
        closed += _gaps_of(world, bound, mine, possessed(world, bound, holder, lot_gpus, key, now, sharing), floor, now)
    cut = [replace(g, end=max(g.start, now)) for gaps in still_open.values() for g in gaps]  # their binding was
    every = {g for g in (*chain.from_iterable(found.values()), *cut) if g.end is None or g.end > max(g.start, reading.until)}
    return tuple(sorted(every, key=_order))


def _set_back(world: World, bound: Bound, gap: Gap, known: Sequence[Gap], until: int) -> Gap:
    """A gap at the end of a binding that is over, from the last heartbeat on, which may have become known only after that."""
    node = world.nodes.get(bound.node)
    seen = world.heard_last(node) if node is not None and _is_of(gap, node) else None
    if seen is None or not set(gap.lots) <= set(bound.lots) or gap.start >= bound.end:
        return gap
    past = [g.end for g in known if g.end is not None and g.end <= gap.start and set(gap.lots) <= set(g.lots)]
    return replace(gap, start=min(gap.start, max(seen, until, bound.start, bound.handed_over_at or 0, *past)))


def _is_of(gap: Gap, node: NodeView) -> bool:
    """Whether it is part of the loss that lasts: what an earlier one left open was closed before."""
    return not node.ready and (gap.end is None or gap.end > node.ready_since)


def _late_news(world: World, bound: Bound, known: Sequence[Gap], until: int, *, closing: bool) -> list[Gap]:
    """A binding that is over, but not metered: its node turns out to have been away before the end."""
    why = "NodeNotReady" if bound.node in world.nodes else "NodeDeleted"
    found: dict[tuple[int, int], list[int]] = {}
    for lot in bound.lots:
        past = [bound.end if g.end is None else g.end for g in known if lot in g.lots]
        floor = max(until, bound.start, bound.handed_over_at or 0, *past)
        if floor < bound.end:
            found.setdefault(_away(world, bound, floor, closing=closing), []).append(lot)
    return [Gap(bound.node, start, end, tuple(lots), cause=why) for (start, end), lots in found.items() if start < end]


def _away(world: World, bound: Bound, floor: int, *, closing: bool) -> tuple[int, int]:
    """From when until when the node of a binding that is over was away in its time; an empty stretch where nothing says so."""
    node, seen, end = world.nodes.get(bound.node), world.last_seen.get(bound.node, 0), bound.end
    if node is not None and world.alive(node):
        unseen = node.ready_since <= end or (closing and seen < end)
        back = min(node.ready_since, end)
        return (_last_heartbeat(world, bound.node, floor, back, floor), back) if unseen else (end, end)
    if node is not None:
        return _onset(world, bound, floor, end, end), end
    return _last_heartbeat(world, bound.node, floor, end, floor if closing else end), end


def _order(gap: Gap) -> tuple[str, int, tuple[int, ...]]:
    return gap.node, gap.start, gap.lots


def _gaps_of(world: World, bound: Bound, mine: Sequence[Gap], have: Sequence[int], floor: int, now: int) -> list[Gap]:
    """Open and newly closed gaps of one binding that runs."""
    node = world.nodes.get(bound.node)
    ready_since = min(node.ready_since, now) if node else 0
    lost = tuple(lot for lot in bound.lots if lot not in have)
    gaps: list[Gap] = []
    for gap in mine:
        back = tuple(lot for lot in gap.lots if lot in have)
        out = tuple(lot for lot in gap.lots if lot not in have)
        if back:
            gaps.append(replace(gap, lots=back, end=ready_since if gap.start < ready_since else now))
        if out and node is not None and world.alive(node) and gap.start < ready_since:  # back without its GPUs: that Ready ended nothing
            gaps += [replace(gap, lots=out, end=ready_since), Gap(bound.node, ready_since, None, out, cause="AccessLost")]
        elif out:
            gaps.append(replace(gap, lots=out, start=min(gap.start, _onset(world, bound, floor, now, gap.start))))
    rest = tuple(lot for lot in bound.lots if not any(lot in g.lots for g in mine))
    fresh = tuple(lot for lot in rest if lot in lost)
    if rest and node is not None and world.alive(node) and ready_since > floor:  # it was away and came back, unseen
        away = _last_heartbeat(world, bound.node, floor, ready_since, floor)
        gaps.append(Gap(bound.node, away, ready_since, rest, cause="NodeNotReady"))
        gaps += [Gap(bound.node, ready_since, None, fresh, cause="AccessLost")] if fresh else []
    elif fresh:
        why = "NodeDeleted" if node is None else "AccessLost" if world.alive(node) else "NodeNotReady"
        gaps.append(Gap(bound.node, _onset(world, bound, floor, now, now), None, fresh, cause=why))
    return gaps


def overlooked(world: World, bounds: Iterable[Bound], until: int) -> Iterator[Gap]:
    """The time before `until` in which the nodes of bindings that were handed over are now known to have been lost.

    A node without a Ready condition, or with one that does not say since when it is so, says nothing of that time.
    """
    for bound in bounds:
        node = world.nodes.get(bound.node)
        if node is None or world.alive(node) or not node.ready_since or bound.handed_over_at is None:
            continue
        start, end = max(bound.start, bound.handed_over_at, _lost_from(world, node, until)), min(bound.end, until)
        if start < end:
            yield Gap(bound.node, start, end, bound.lots, cause="NodeNotReady")


def _lost_from(world: World, node: NodeView, now: int) -> int:
    """From when on a node was lost that is so now: its kubelet's last sign of life, else the change of its Ready condition."""
    latest, seen = now if node.ready else min(node.ready_since, now), world.heard_last(node)
    return latest if seen is None or seen > latest else seen


def _onset(world: World, bound: Bound, floor: int, now: int, otherwise: int) -> int:
    """When a loss began: the last heartbeat, else the change of the Ready condition; a loss of another kind when it was seen.

    A kubelet that was last heard before the buyer's time began, or before what the meter has read, was not there in any second since.
    """
    node = world.nodes.get(bound.node)
    if node is None:
        return _last_heartbeat(world, bound.node, floor, now, floor)
    if world.alive(node):
        return otherwise
    return max(floor, _lost_from(world, node, now))


def _last_heartbeat(world: World, name: str, floor: int, latest: int, otherwise: int) -> int:
    seen = world.last_seen.get(name, 0)
    return seen if floor <= seen <= latest else otherwise


def readable_until(world: World, gaps: Iterable[Gap], now: int, lag: int) -> int:
    """How far the meter may read: `lag` behind, and not into the time before a NotReady whose last heartbeat is not known yet."""
    until = now - lag
    for gap in gaps:
        node = world.nodes.get(gap.node)
        unconfirmed = node is not None and _is_of(gap, node) and world.heard_last(node) is None
        if unconfirmed and now - gap.start < CONFIRM_SECONDS:
            until = min(until, gap.start - lag)
    return until
