"""`laycan verify`: offline and alone, whether evidence holds, and what of it could not be checked."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from laycan_verify.amounts import complete, deliveries, quantities, readings
from laycan_verify.bundle import Bundle, open_bundle
from laycan_verify.forms import TRUST
from laycan_verify.steps import Findings, chain, confirmation, digests, entries, heads, one_history, signatures
from laycan_verify.strict import RefusedError, UnreadableError, parse, read
from laycan_verify.trust import Trust

Step = Callable[[Sequence[Bundle], Trust], Findings]
CODES = """Example: laycan verify contract.json --trust trust.json. Exit: 0 what was checked holds; else of the first step that fails:
1 unreadable or usage, 2 digest, confirmation or signature, 3 chain, 4 log or cosignatures, 5 arithmetic, 6 double delivery,
7 readings missing where they are required."""


def each(step: Callable[[Bundle, Trust], Findings]) -> Step:
    return lambda bundles, trust: (line for bundle in bundles for line in step(bundle, trust))


# In this order, each with the exit code where it fails.
STEPS = [
    *((2, each(step)) for step in (signatures, digests, confirmation)),
    *((3, each(chain)), (4, each(heads)), (4, each(entries)), (4, one_history)),
    *((5, each(quantities)), (5, each(readings)), (6, deliveries)),
]


def verify(files: Mapping[str, bytes], trust: bytes, quorum: int | None = None, all_readings: bool = False) -> tuple[int, list[str]]:
    """The exit code, and what there is to say; `files` are bundles by name."""
    code, lines = 1, list[str]()
    try:
        trusted = Trust.of(read(TRUST, parse(trust, "trust file"), "trust file"), quorum)
        bundles = [open_bundle(data, name) for name, data in files.items()]
        for code, step in [*STEPS, *([(7, each(complete))] if all_readings else [])]:  # noqa: B007  the last one is the answer
            lines += step(bundles, trusted)
    except RefusedError as refusal:
        code = 1 if isinstance(refusal, UnreadableError) else code
        return code, [*map(_plain, lines), _plain(f"REFUSED ({code}): {refusal}")]
    return 0, [*map(_plain, lines), "What was checked holds."]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _Parser(prog="laycan verify", description="Verify, offline, the evidence of contracts' deliveries.", epilog=CODES)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="bundle from `laycan evidence`; several are compared")
    parser.add_argument("--trust", required=True, type=Path, metavar="F", help="trust file: whose keys count, as `laycan keys` prints it")
    parser.add_argument("--cosignatures", type=int, metavar="T", help="witnesses that must have cosigned; default: 1 where any is trusted")
    parser.add_argument("--require-readings", action="store_true", help="readings of every period must have been given")
    asked = parser.parse_args(arguments)
    if asked.cosignatures is not None and asked.cosignatures < 0:
        parser.error("--cosignatures must not be negative")
    try:
        files = {str(path): path.read_bytes() for path in asked.files}
        code, lines = verify(files, asked.trust.read_bytes(), asked.cosignatures, asked.require_readings)
    except OSError as error:
        parser.error(str(error))
    except Exception as fault:  # whatever it is, it was not verified
        parser.error(f"stopped by {type(fault).__name__}: {fault}")
    print("\n".join(lines))  # noqa: T201
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Bad usage is 1, because 2 has a meaning here."""
        self.exit(1, f"{self.prog}: {message}\n")


def _plain(line: str) -> str:
    """What others wrote must not steer a terminal."""
    return re.sub(r"[^ -~]", lambda found: ascii(found[0])[1:-1], line)
