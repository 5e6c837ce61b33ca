"""YAML as the Kubernetes API reads it: an unquoted time is text, and a key stands once in a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


def yaml_documents(name: str, text: bytes, lines: list[str]) -> Iterator[Any]:
    """The documents of one stream, of a broken one those before the fault, which is told in `lines`."""
    try:
        for document in yaml.load_all(text, Loader=_Loader):
            if document is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        lines.append(f"{name}:{mark.line + 1 if mark else 1}: is not YAML: {error.problem}")
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        lines.append(f"{name}: is not YAML: {str(error).splitlines()[0]}")


class _Loader(yaml.CSafeLoader):
    pass


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
