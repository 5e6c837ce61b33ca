"""What commands share: results go to stdout, everything said to a person to stderr, bad input ends with exit code 2."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from laycan.planning.manifests import BadInputError

EXIT_VIOLATION = 1
EXIT_BAD_INPUT = 2


def say(kind: str, lines: Iterable[str]) -> None:
    """Messages to stderr, one per line."""
    for line in lines:
        typer.echo(f"{kind}: {printable(line)}", err=True)


def printable(text: str) -> str:
    """What is no character that is seen (a terminal's commands, line ends, marks that turn its direction) is written as its escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def bad_input_exits() -> Iterator[None]:
    """Turns BadInputError into its lines on stderr and exit code 2."""
    try:
        yield
    except BadInputError as error:
        say("error", error.lines)
        raise typer.Exit(EXIT_BAD_INPUT) from None


@contextmanager
def keeps_all() -> Iterator[None]:
    """For what a command reads and keeps to its end: walking that for cycles, now or later, takes longer than reading it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def write(document: bytes) -> None:
    """One document on stdout; a reader that stops early is no error. Ends with exit code 2 where stdout takes nothing."""
    if sys.stdout is None:
        say("error", ["stdout is closed; leave it open, or send it to a file"])
        raise typer.Exit(EXIT_BAD_INPUT)
    try:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _leave_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        _leave_stdout()
        say("error", [f"stdout cannot be written: {error.strerror}; send it elsewhere"])
        raise typer.Exit(EXIT_BAD_INPUT) from None


def _leave_stdout() -> None:
    """What is left of the document goes nowhere: else it would be tried again, and complained of, when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_lines(lines: Iterable[str]) -> None:
    """Lines for people on stdout. What came from a cluster can neither command the terminal nor feign a line."""
    write("".join(f"{printable(line)}\n" for line in lines).encode())


def write_file(path: Path, document: bytes) -> None:
    """Whole or not at all; `-` is stdout. Ends with exit code 2 where it cannot be written."""
    if str(path) == "-":
        return write(document)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(document)
        os.replace(part, path)
    except OSError as error:
        say("error", [f"{path} cannot be written: {error.strerror}; correct the path"])
        raise typer.Exit(EXIT_BAD_INPUT) from None
