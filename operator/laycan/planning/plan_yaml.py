"""Plans as YAML: the document of `plan_io`, byte for byte as PyYAML writes it.

PyYAML takes 35 microseconds for a binding, and a plan has a hundred thousand: the bindings are written here, the rest by PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from laycan.planning.plan_io import plan_document
from laycan_solver.model import Plan

_PLAIN = re.compile(r"[a-z][a-z0-9./-]*")  # such a text needs no quotes unless it is one of these words
_WORDS = ("true", "false", "yes", "no", "on", "off", "null")


def plan_yaml(plan: Plan) -> bytes:
    """The document, keys in their published order."""
    document = plan_document(plan)
    names = list(document)
    i = names.index("bindings")
    head, tail = ({name: document[name] for name in part} for part in (names[:i], names[i + 1 :]))
    bindings = "".join(map(_entry, document["bindings"]))
    return f"{_dumped(head)}bindings:{'' if bindings else ' []'}\n{bindings}{_dumped(tail)}".encode()


def _dumped(value: object) -> str:
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=140))


def _entry(b: Mapping[str, Any]) -> str:
    """A binding; times look like YAML's own and are quoted."""
    return (
        f"- contract: {_text(b['contract'])}\n  node: {_text(b['node'])}\n  product: {_text(b['product'])}\n"
        f"  gpus: {b['gpus']}\n  start: '{b['start']}'\n  end: '{b['end']}'\n"
    )


@cache
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _WORDS:
        return text
    return _dumped([{"text": text}]).removeprefix("- text: ").removesuffix("\n")
