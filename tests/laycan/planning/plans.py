"""Plans to write and to read: any plan, and a small one with something of everything."""

from __future__ import annotations

from hypothesis import strategies as st

from laycan_solver.model import Binding, Bound, Move, MoveReason, Plan, Reason, Stopped, Totals, Undelivered

NAMES = st.text(min_size=1, max_size=8)
TIMES = st.integers(0, 253402300799)
COUNTS = st.integers(0, 2**53)
BINDINGS = st.builds(Binding, NAMES, NAMES, NAMES, COUNTS, TIMES, TIMES)
SHORT = st.builds(Undelivered, NAMES, TIMES, TIMES, COUNTS, st.sampled_from(Reason), NAMES, st.booleans()).filter(
    lambda u: u.refused or u.code not in (Reason.EXCEEDS_FLEET, Reason.NO_CAPACITY)  # these two mean refused
)
MOVES = st.builds(Move, NAMES, NAMES, NAMES, COUNTS, st.sampled_from(MoveReason))
PLANS = st.builds(
    Plan,
    TIMES,
    st.lists(BINDINGS, max_size=3).map(tuple),
    st.lists(SHORT, max_size=3).map(tuple),
    st.lists(MOVES, max_size=3).map(tuple),
    st.builds(Totals, *[COUNTS] * len(Totals.__slots__)),
    st.builds(Bound, COUNTS, COUNTS),
    COUNTS,
    COUNTS,
    st.sampled_from(Stopped),
    st.just({"scale": 3600000000, "firm": [[1, 2, 8, "H", 5]], "total": []}),
)

ONE = Plan(
    now=1798761600,
    bindings=(Binding("desk/c1", "n1", "h100", 8, 1798761600, 1798848000),),
    undelivered=(Undelivered("desk/c2", 1798761600, 1798848000, 16, Reason.POOL_SHORT, "16 of 16"),),
    moves=(Move("desk/c3", "n7", "n9", 8, MoveReason.NODE_LOST),),
    totals=Totals(1, 2, 3, 4, 5, 6, 7, 8, 9),
    bound=Bound(10, 11),
    firm_gap_ppm=12,
    total_gap_ppm=13,
    stopped=Stopped.EFFORT,
)
