"""Strict reading: JSON that has one meaning and the form that it must have, else a sentence that says where it has not."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NoReturn

import rfc8785

FOREVER = 253_402_300_800  # the first second, Unix, after the last that has a text


class RefusedError(Exception):
    """What does not hold: one sentence that names file, receipt and field."""


class UnreadableError(RefusedError):
    """What has not the form that it must have."""


def need(holds: object, sentence: str) -> None:
    if not holds:
        raise RefusedError(sentence)


def parse(data: bytes, name: str) -> Any:
    """A JSON text in UTF-8 without a key that stands twice, and without other numbers than integers."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_float=_no_integer, parse_constant=_no_integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name} cannot be read: {error}") from None


def canonical(value: Any, name: str) -> bytes:
    """RFC 8785 bytes."""
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name} has no canonical form: {error}") from None


def digest(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def read(shape: Any, value: Any, name: str) -> Any:
    """The value in that shape: a type, a pattern of text, a function that converts, a list of one shape, or a dict of fields.

    `field?` may be absent. The shape of all fields that are not named is that of `...`, where it is a key.
    """
    try:
        if isinstance(shape, dict):
            keys = {key.rstrip("?"): key for key in shape if key is not ...}
            if (strange := _of(dict, value).keys() - keys) and ... not in shape:
                raise ValueError(f"has a field that version 1 does not know, {min(strange)!r}")
            keys = {field: key for field, key in keys.items() if field == key or field in value} | dict.fromkeys(strange, ...)
            return {field: read(shape[key], value[field], f"{name}.{field}") for field, key in keys.items()}
        if shape is ...:
            return value
        if isinstance(shape, list):
            return [read(shape[0], each, f"{name}[{place}]") for place, each in enumerate(_of(list, value))]
        if isinstance(shape, str):
            return value if re.fullmatch(shape, _of(str, value).encode().decode()) else _wrong(f"must be of the form {shape}")
        return _of(shape, value) if isinstance(shape, type) else shape(value)
    except KeyError as error:
        raise UnreadableError(f"{name} lacks {error}") from None
    except ValueError as error:
        raise UnreadableError(f"{name} {error}") from None


def between(least: int, most: int) -> Callable[[Any], int]:
    return lambda value: int(value) if least <= _of(int, value) <= most else _wrong(f"must be from {least} to {most}")


def time(value: Any) -> int:
    """Unix seconds of an instant; each has one text."""
    seconds = int(datetime.fromisoformat(_of(str, value)).replace(tzinfo=UTC).timestamp())
    return seconds if clock(seconds) == value else _wrong("must be a time of the form 2027-01-04T00:00:00Z")


def clock(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def octets(value: Any) -> bytes:
    """Standard base64; the same bytes have one text."""
    data = b64decode(_of(str, value), validate=True)
    return data if b64encode(data).decode() == value else _wrong("must be base64 with its spare bits zero")


def octets32(value: Any) -> bytes:
    return data if len(data := octets(value)) == 32 else _wrong("must be 32 bytes in base64")


def _of(kind: type, value: Any) -> Any:
    return value if type(value) is kind else _wrong(f"must be of type {kind.__name__}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _wrong(f"a key stands twice in the object that begins with {pairs[0][0]!r}")


def _no_integer(text: str) -> NoReturn:
    _wrong(f"{text} is no integer")


def _wrong(what: str) -> NoReturn:
    raise ValueError(what)
