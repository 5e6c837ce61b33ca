"""What commands share: results go to stdout, everything said to a person to stderr, bad input ends with exit code 2."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from laycan.planning.manifests import BadInputError

EXIT_VIOLATION = 1
EXIT_BAD_INPUT = 2


def say(kind: str, lines: Iterable[str]) -> None:
    """Messages to stderr, one per line."""
    for line in lines:
        typer.echo(f"{kind}: {line}", err=True)


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
    """One document on stdout; a reader that stops early is no error."""
    try:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(0) from None


def write_file(path: Path, document: bytes) -> None:
    """Whole or not at all; `-` is stdout. Ends with exit code 2 where it cannot be written."""
    if str(path) == "-":
        return write(document)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(document)
        os.replace(part, path)
    except OSError as error:
        say("error", [f"{path} cannot be written: {error.strerror}"])
        raise typer.Exit(EXIT_BAD_INPUT) from None


def progress(what: str) -> Callable[[int, int], None]:
    """Shows how far it is, on one line of stderr that goes at the end; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return lambda done, of: None

    def show(done: int, of: int) -> None:
        sys.stderr.write(f"\r\x1b[K{what} {done} of {of}" if done < of else "\r\x1b[K")
        sys.stderr.flush()

    return show
