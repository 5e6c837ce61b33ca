"""Documents from files, folders (not the folders in them) and standard input, in YAML or JSON, one or many per file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

SUFFIXES = (".yaml", ".yml", ".json")


def documents(paths: Iterable[str], lines: list[str]) -> Iterator[tuple[str, Any]]:
    """(file, document) of all paths in order; what cannot be read is told in `lines`. `-` is standard input."""
    for file, text in _texts(paths, lines):
        for document in _parsed(file, text, lines):
            yield file, document


def _texts(paths: Iterable[str], lines: list[str]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == "-":
            yield "-", sys.stdin.buffer.read()
            continue
        here = Path(path)
        try:
            files = sorted(f for f in here.iterdir() if f.suffix in SUFFIXES and f.is_file()) if here.is_dir() else [here]
        except OSError as error:  # no right to look into the folder, or a name that no file can have
            lines.append(f"{path[:200]}: cannot be read: {error.strerror}; correct the path")
            continue
        if not files:
            lines.append(f"{path}: no file here ends in {', '.join(SUFFIXES)}; name the files, or another folder")
        for file in files:
            try:
                yield str(file), file.read_bytes()
            except OSError as error:
                lines.append(f"{file}: cannot be read: {error.strerror}; correct the path")


def _parsed(name: str, text: bytes, lines: list[str]) -> list[Any]:
    """The documents of one file; of a YAML stream that is broken those before the fault."""
    if not text.strip():  # such as the file that a shell has just opened for this command's output
        return []
    try:
        if name.endswith(".json"):
            return [orjson.loads(text)]
        if text.lstrip()[:1] == b"{":  # JSON is YAML, but read fifty times as fast
            with suppress(orjson.JSONDecodeError):
                return [orjson.loads(text)]
    except orjson.JSONDecodeError as error:
        lines.append(f"{name}:{error.lineno}: is not JSON: {error.msg}")
        return []
    from laycan.planning.yaml_documents import yaml_documents  # PyYAML is loaded where there is YAML

    return list(yaml_documents(name, text, lines))
