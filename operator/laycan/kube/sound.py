"""What an object that was stored under an older, laxer CRD still says: the parts that can be read, and nothing else.

The API server checks what is written now, not what it stored before. One object that is not as its schema says must never stop the
watch of all the others, so what cannot be read is left out here, once, with a word in the log. A binding is kept as long as it
names a node and a time: its node must not be given to anybody else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from laycan.resources.contract import BindingStatus, ContractStatus

log = logging.getLogger(__name__)

Raw = Mapping[str, Any]


def text_at(raw: Any, *path: str) -> str:
    """The text at a path of an object of any shape, "" without."""
    found = _at(raw, path)
    return found if isinstance(found, str) else ""


def seconds_at(raw: Any, *path: str) -> int:
    """The count at a path of an object of any shape, 0 without."""
    found = _at(raw, path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _at(raw: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw


def mapping(raw: Any) -> Raw:
    """The object, an empty one in place of anything else."""
    return raw if isinstance(raw, Mapping) else {}


def sound_status(raw: Any, name: str, product: str) -> Raw:
    """The status of the contract `name` as far as it can be read; `product` stands in where a binding lacks its own.

    A phase that is a text stays: one that this version does not know is nothing to start anew.
    """
    status = mapping(raw)
    errors = _errors(ContractStatus, status)
    if not errors:
        return status
    broken = {loc[0] for loc in errors}
    if isinstance(status.get("phase"), str):
        broken.discard("phase")
    kept = {key: value for key, value in status.items() if key not in broken}
    for key in broken & _LISTS:
        entries = status[key] if isinstance(status[key], list) else []
        bad = {loc[1] for loc in errors if loc[0] == key and len(loc) > 1}
        read = [_binding(e, product) if i in bad and key == "bindings" else (None if i in bad else e) for i, e in enumerate(entries)]
        kept[key] = [entry for entry in read if entry is not None]
    if broken:
        log.warning("%s: its status is not as its schema says: %s", name, ", ".join(".".join(map(str, loc)) for loc in errors[:4]))
    return kept


_LISTS = frozenset({"bindings", "conditions", "outbox", "curtailments"})
_OPTIONAL = frozenset({"lots", "devices", "boundAt", "handedOverAt", "meteredSince"})


def _binding(raw: Any, product: str) -> Raw | None:
    """What is left of a binding; None without a node, a time or a count."""
    if not isinstance(raw, Mapping):
        return None
    broken = {loc[0] for loc in _errors(BindingStatus, raw)}
    made = {key: value for key, value in raw.items() if key not in broken or key not in _OPTIONAL}
    if "product" in broken:
        made["product"] = product
    if "level" in broken:
        made["level"] = "Node"
    return made if not _errors(BindingStatus, made) else None


def _errors(model: type[BaseModel], value: Raw) -> list[tuple[Any, ...]]:
    """Where the value is not as the model says; fields that the model does not know are no error, a newer version may have made them."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [each["loc"] for each in found if each["type"] != "extra_forbidden"]
    return []
