"""What the log of an exchange costs: appends with fsync, proofs, opening, space.

    python -m bench.ledger [--entries 100000] [--folder DIR]

CPU does not depend on the disk. Wall times of appends are those of the disk under the folder, so they are also given as a share of
what a plain file takes there to which the same bytes are appended with fsync.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.budgets import judged
from bench.measure import Row, Stopwatch, percentile, show
from laycan.ledger.log import Entry
from laycan.ledger.sqlite import SqliteLog, create_log, open_log
from laycan_verify.merkle import extends, includes, leaf_hash

BODY_BYTES = (1_000, 3_000)  # from an event with its contract to a receipt's envelope, evenly
MEAN_BYTES = sum(BODY_BYTES) // 2
FILL_BATCH = 1_000
APPENDS = {1: 1_000, 64: 100}  # entries in a transaction -> transactions
PROOFS = 2_000
ROWS = ("log-open", "log-space", "log-proofs", *(f"log-append-{batch}" for batch in APPENDS))


def entries(first: int, count: int) -> list[Entry]:
    """Ids as events have them: a contract's uid and a number."""
    draw = random.Random(first)
    ids = (f"{i % 1_000:08d}-8a52-4a0c-9d0a-4f6a5e1c7b11/{i}" for i in range(first, first + count))
    return [Entry(name, draw.randbytes(draw.randint(*BODY_BYTES))) for name in ids]


def walls_us(action: Callable[[int], object], count: int) -> list[int]:
    """Wall microseconds of each of `count` calls."""
    found = []
    for i in range(count):
        begun = time.monotonic_ns()
        action(i)
        found.append((time.monotonic_ns() - begun) // 1_000)
    return found


def appends(log: SqliteLog, folder: Path, batch: int, count: int) -> Row:
    """`count` transactions of `batch` entries."""
    batches = [entries(log.size + i * batch, batch) for i in range(count)]
    written, watch = _written(), Stopwatch()
    walls = walls_us(lambda i: log.append(batches[i]), count)
    cpu, written = watch.cpu_us(), _written() - written
    plain = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT)
    floor = walls_us(lambda _: _write_through(plain, batch * MEAN_BYTES), count)
    os.close(plain)
    return {
        "row": f"log-append-{batch}",
        "transactions": count,
        "cpu_us_per_entry": cpu // (count * batch),
        "written_of_bodies_ppm": written * 10**6 // sum(len(entry.body) for each in batches for entry in each),
        "wall_us_p50": percentile(walls, 50),
        "wall_us_p99": percentile(walls, 99),
        "wall_of_plain_ppm": percentile(walls, 50) * 10**6 // percentile(floor, 50),
        "entries_per_second": count * batch * 10**6 // sum(walls),
    }


def proofs(log: SqliteLog) -> Row:
    """At sizes that the log had and has, made and checked."""
    draw, size, row = random.Random(7), log.size, dict[str, object]()
    heads = {old: log.root(old) for old in (draw.randrange(1, size) for _ in range(PROOFS))}
    leaves = {index: leaf_hash(log.entries(index - 1, 1)[0].body) for index in (draw.randrange(size) for _ in range(PROOFS))}
    watch = Stopwatch()
    inclusions = {index: log.inclusion(index, size) for index in leaves}
    row["inclusion_us"] = watch.cpu_us() // len(leaves)
    watch = Stopwatch()
    consistencies = {old: log.consistency(old, size) for old in heads}
    row["consistency_us"] = watch.cpu_us() // len(heads)
    head, watch = log.root(), Stopwatch()
    assert all(includes(head, size, index, leaves[index], proof) for index, proof in inclusions.items())
    assert all(extends(heads[old], old, head, size, proof) for old, proof in consistencies.items())
    row["check_us"] = watch.cpu_us() // (len(leaves) + len(heads))
    longest = max(map(len, (*inclusions.values(), *consistencies.values())))
    return {"row": "log-proofs", "entries": size, **row, "hashes_max": longest}


def opening(path: Path) -> Row:
    """Of a log that was closed: the median of several; then everything recomputed once."""
    spent = []
    for _ in range(9):
        watch = Stopwatch()
        log = open_log(path)
        spent.append(watch.cpu_us())
        log.close()
    log, watch = open_log(path), Stopwatch()
    assert log.verify() == []
    row = {"row": "log-open", "entries": log.size, "cpu_us": percentile(spent, 50), "verify_us_per_entry": watch.cpu_us() // log.size}
    log.close()
    return row


def space(path: Path, entries: int, bodies: int) -> Row:
    """`bodies`: their bytes in all."""
    return {"row": "log-space", "entries": entries, "file_of_bodies_ppm": path.stat().st_size * 10**6 // bodies}


def measured(folder: Path, count: int) -> list[Row]:
    path = folder / "log.sqlite"
    log = create_log(path, "bench/local")
    bodies = 0
    for first in range(0, count, FILL_BATCH):
        batch = entries(first, min(FILL_BATCH, count - first))
        log.append(batch)
        bodies += sum(len(entry.body) for entry in batch)
    log.close()
    rows = [opening(path), space(path, count, bodies)]
    log = open_log(path)
    rows += [proofs(log), *(appends(log, folder, batch, times) for batch, times in APPENDS.items())]
    log.close()
    return rows


def _write_through(file: int, length: int) -> None:
    os.write(file, bytes(length))
    os.fsync(file)


def _written() -> int:
    """Bytes that this process gave to the system to write so far. Linux."""
    return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="in the log before anything is measured")
    parser.add_argument("--folder", type=Path, help="an empty one, on the disk that is to be measured")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="laycan-bench-") as temporary:
        rows = measured(given.folder or Path(temporary), given.entries)
    show("ledger", rows, judged(rows), body_bytes=BODY_BYTES)


if __name__ == "__main__":
    main()
