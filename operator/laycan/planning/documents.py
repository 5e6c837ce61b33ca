"""Documents from files, folders (not the folders in them) and standard input, in YAML or JSON, one or many per file.

YAML is read as the Kubernetes API reads it: an unquoted time is text, and a key stands once in a mapping.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import yaml

SUFFIXES = (".yaml", ".yml", ".json")


def documents(paths: Iterable[str], lines: list[str]) -> Iterator[tuple[str, Any]]:
    """(file, document) of all paths in order; what cannot be read is told in `lines`. `-` is standard input."""
    for file, text in _texts(paths, lines):
        for document in _parsed(file, text, lines):
            yield file, document


class _Loader(yaml.CSafeLoader):
    """YAML as the Kubernetes API reads it: times are text, and a key stands once."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _mapping_once(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
        seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_once)


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
    found: list[Any] = []
    try:
        if name.endswith(".json"):
            return [orjson.loads(text)]
        if text.lstrip()[:1] == b"{":  # JSON is YAML, but read fifty times as fast
            with suppress(orjson.JSONDecodeError):
                return [orjson.loads(text)]
        found.extend(document for document in yaml.load_all(text, Loader=_Loader) if document is not None)
    except orjson.JSONDecodeError as error:
        lines.append(f"{name}:{error.lineno}: is not JSON: {error.msg}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        lines.append(f"{name}:{mark.line + 1 if mark else 1}: is not YAML: {error.problem}")
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        lines.append(f"{name}: is not YAML: {str(error).splitlines()[0]}")
    return found
