"""How fast evidence is verified, on bundles that the tests' own writer made: `make bench-verify`.

    python -m bench.verify [--rows month,year,wide,bare]

`bare` is without readings: signatures, chain, log and sums alone. Bundles are kept in `.run/bench`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bench.budgets import judged
from bench.instances import CACHE
from bench.measure import Row, Stopwatch, apart, peak_mb, show
from laycan_verify.cli import verify
from tests.laycan_verify.writer import DAY, Story, trust

ROWS = {  # -> GPUs in lots of 8, days, with readings
    "month": (64, 30, True),
    "year": (64, 365, True),
    "wide": (4096, 30, True),
    "bare": (64, 365, False),
}


def evidence(gpus: int, days: int) -> bytes:
    """A bundle of that size without a fault, one receipt and one cosigned head a day."""
    file: Path = CACHE / f"evidence-{gpus}-{days}.json"
    if not file.exists():
        start = Story().start
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(Story(gpus=gpus, start=start, end=start + days * DAY).days().bundle()))
    return file.read_bytes()


def measured(name: str) -> Row:
    gpus, days, with_readings = ROWS[name]
    data = evidence(gpus, days)
    if not with_readings:
        bundle = json.loads(data)
        del bundle["readings"]
        data = json.dumps(bundle).encode()
    trusted = json.dumps(trust()).encode()
    watch = Stopwatch()
    code, lines = verify({"bundle": data}, trusted, all_readings=with_readings)
    spent = watch.cpu_us()
    assert code == 0, lines
    return {
        "row": f"verify-{name}",
        "gpus": gpus,
        "receipts": days,
        "readings": gpus // 8 * days if with_readings else 0,
        "file_kb": len(data) >> 10,
        "cpu_ms": spent // 1_000,
        "receipts_per_s": days * 10**6 // spent,
        "peak_mb": peak_mb(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    rows = []
    for name in parser.parse_args(arguments).rows.split(","):
        if name not in ROWS:
            raise SystemExit(f"--rows: there is no {name}; known are {', '.join(ROWS)}")
        evidence(*ROWS[name][:2])
        rows.append(apart(measured, name))
    show("verify", rows, limits=judged(rows))


if __name__ == "__main__":
    main()
