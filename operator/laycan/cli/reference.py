"""docs/cli.md from the commands themselves: `python -m laycan.cli.reference DOCS` writes DOCS/cli.md.

A command's docstring has a form: what it does, `Needs:`, `Example:`, `Exit:`. Options are told as its help tells them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from inspect import cleandoc
from io import StringIO
from pathlib import Path

from laycan.cli.main import COMMANDS, OWN_PARSER, callback_of, load
from laycan.markdown import cell
from laycan_verify.cli import CODES
from laycan_verify.cli import main as verify

PAGE = "cli.md"
HEAD = """# Command line

Generated from the commands (`make generate`); `laycan COMMAND --help` says the same in a terminal. `kubectl laycan …` is
`laycan …` where `kubectl-laycan` is on the PATH. [desk.md](desk.md) shows what the desk's commands print.

* **Files or a cluster.** Commands with `PATH…` take files, folders (without the folders in them) or `-`. Without any they ask the cluster
  that `kubectl` would ask, with the caller's own rights, and change nothing there.
* **Results go to stdout**, what is said to a person to stderr. Colours and progress are for terminals, `NO_COLOR` turns colours off.
* **Times** are as `2027-01-04T00:00:00Z`.
* **Exit codes**: 0 done; 1 looked, and something does not hold; 2 bad input, bad usage, or no cluster; others stand with their command.

"""


def page() -> str:
    """docs/cli.md."""
    table = "".join(f"| [`laycan {name}`](#laycan-{name}) | {line} |\n" for name, (_, _, line) in COMMANDS.items())
    return f"{HEAD}| command | |\n|---|---|\n{table}\n" + "\n".join(map(section, COMMANDS))


def section(name: str) -> str:
    """All about one command."""
    words, example, codes = told(name)
    rows = "".join(f"| {cell(f'`{option}`')} | {cell(says)} |\n" for option, says in options(name))
    exits = "".join(f"| {code} | {says} |\n" for code, says in codes)
    given = f"| argument or option | |\n|---|---|\n{rows}\n" if rows else ""
    return f"## laycan {name}\n\n{words}\n\n```sh\n{example}\n```\n\n{given}| exit code | |\n|---|---|\n{exits}"


def told(name: str) -> tuple[str, str, list[tuple[str, str]]]:
    """What a command does and needs, its example, and its exit codes with their meaning."""
    said = cleandoc(callback_of(name).__doc__ or "").split("\n\n") + (CODES.split(". ", 1) if name in OWN_PARSER else [])
    parts = {part.partition(":")[0]: part for part in said}
    example, codes = (cleandoc(parts.pop(part).partition(":")[2]) for part in ("Example", "Exit"))
    found = re.findall(r"(?:^|[,:;] )(\d) (.*?)(?=, \d |: \d |$)", " ".join(codes.split()).rstrip("."))
    return "\n\n".join(parts.values()), example, found


def options(name: str) -> Iterator[tuple[str, str]]:
    """(as it is given, what it does) of each argument and option."""
    if name in OWN_PARSER:
        yield from _of_verify()
        return
    command = load(name)
    context = command.make_context(name, [], resilient_parsing=True)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record and "--help" not in parameter.opts:
            given, says = record
            kind = "" if parameter.param_type_name == "argument" else " TEXT"
            yield re.sub(r" <(?:list\[)?str\]?>", kind, given), says


def _of_verify() -> Iterator[tuple[str, str]]:
    """From its help, however wide the terminal is."""
    shown = StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        verify(["--help"])
    unwrapped = re.sub(r"\n {4,}", "  ", shown.getvalue())
    for given, says in re.findall(r"^  (\S.*?)  +(\S.*)$", unwrapped, re.MULTILINE):
        if "--help" not in given:
            yield given, says


def main(docs: Path) -> None:
    (docs / PAGE).write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
