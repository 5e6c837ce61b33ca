"""Statuses that cannot all be true: two holders of one whole node at one time.

Release before acquire lets none arise. Should one be there all the same (an edit by hand, a backup that was restored), no plan could keep
both, and planning would end for everybody. So the one who has not got the node is planned anew; the scan of `reconcile` raises the alarm.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from laycan_solver.model import Binding

log = logging.getLogger(__name__)


def consistent(
    bindings: Iterable[Binding], whole: Callable[[str], bool], holder: Callable[[str], str], owners: Mapping[str, str]
) -> list[Binding]:
    """Without those that contradict others: whom the fence names keeps his, then whose binding begins first.

    `whole` tells of a node whether it has one holder at a time, `holder` of a contract's key whose it is.
    """
    on: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        on[binding.node].append(binding)
    kept: list[Binding] = []
    for node, rows in on.items():
        if len({holder(row.contract) for row in rows}) == 1 or not whole(node):
            kept += rows
            continue
        mine: list[Binding] = []
        for row in sorted(rows, key=lambda row: (holder(row.contract) != owners.get(node), row.start, row.contract)):
            rival = next((m for m in mine if holder(m.contract) != holder(row.contract) and m.start < row.end and row.start < m.end), None)
            if rival is None:
                mine.append(row)
            else:
                log.error("ALARM node %s is bound to %s and to %s at once: the latter is planned anew", node, rival.contract, row.contract)
        kept += mine
    return kept
