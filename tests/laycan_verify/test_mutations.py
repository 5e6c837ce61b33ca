"""Evidence that is changed anywhere, in any way, is never accepted and never ends in a traceback; the exceptions are named here.

What may change without effect: what the file may leave out and the verifier then says is not checked (the confirmation, readings, the
newest receipts), and what an operator says under his own signature that no step can judge (`UNJUDGED`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan_verify.cli import verify
from tests.laycan_verify.writer import DAY, IN_TOTO, JSON, RECEIPTS, Key, Loss, Story, at, trust

START = at("2027-01-04T00:00:00")
TRUST = json.dumps(trust()).encode()
Path = tuple[str | int, ...]


def story() -> Story:
    """Two lots of one GPU for two days, and a correction of the first."""
    short = Loss((1,), START + 3600, START + 7200)
    return Story(gpus=2, lot_gpus=1, end=START + 2 * DAY, losses=[short])


@cache
def whole() -> bytes:
    told = story().days()
    told.correct(1, START + 3 * DAY, [Loss((1,), START + 3600, START + 5400)])
    return json.dumps(told.bundle(), separators=(",", ":"), ensure_ascii=False).encode()


def accepted(data: bytes) -> bool:
    """Exit 0; whatever else it is, it is a number with one line that says why."""
    code, lines = verify({"a.json": data}, TRUST)
    assert code in range(8)
    assert code == 0 or re.match(rf"REFUSED \({code}\): (a\.json|readings)", lines[-1])
    return code == 0


def others(value: Any) -> Iterator[Any]:
    """What a field could be instead: another value of its type, and every other type."""
    if isinstance(value, str):
        yield from (value + "x", value[:-1], value.swapcase(), "", value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x", "\ud800")
    elif isinstance(value, int):
        yield from (value + 1, value - 1, -value - 1, 2**53, 10**30)
    elif isinstance(value, list):
        yield from ([], value[1:], value[:-1], value[::-1], [*value, *value[:1]], [*value, None])
    elif isinstance(value, dict):
        yield from ({key: other for key, other in value.items() if key != left} for left in value)
        yield from ({}, {**value, "more": 1})
    yield from (None, True, 1.5, float("nan"), 7, "text", [], {}, [[]], {"a": []})


def mutants(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The value with one of its parts replaced, each in turn."""
    for other in others(value):
        if json.dumps(other) != json.dumps(value):
            yield path, other
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        for at_path, changed in mutants(part, (*path, key)):
            made = dict(value) if isinstance(value, dict) else list(value)
            made[key] = changed
            yield at_path, made


def named(path: Path) -> str:
    return ".".join("#" if isinstance(part, int) else "ROOT" if re.fullmatch("[0-9a-f]{64}", part) else part for part in path)


def less(made: JSON, bundle: JSON) -> bool:
    """Is it the bundle without its confirmation, some readings or its newest receipts, and otherwise the same?"""
    receipts = bundle["receipts"][: len(made["receipts"])]
    readings = {root: rows for root, rows in bundle["readings"].items() if root in made.get("readings", ())}
    left_out = {"confirmation", "readings"} - made.keys()
    expected = bundle | {"receipts": receipts, "readings": readings}
    return made == {key: value for key, value in expected.items() if key not in left_out}


def test_every_field_of_a_bundle() -> None:
    """A field that is missing, unknown, of another value or another type: only what may be left out may be missing."""
    bundle = json.loads(whole())
    for path, made in mutants(bundle):
        if accepted(json.dumps(made).encode()):
            assert less(made, bundle), f"{named(path)} was changed and accepted"


def test_every_byte_of_an_envelope() -> None:
    """No byte of the envelope of a receipt can be another one."""
    bundle = story().days(1).bundle()
    body = bundle["receipts"][0]["body"]
    first, last = body.index('{"payload"'), body.index('"}]}', body.index('{"payload"')) + 4
    assert json.loads(body[first:last]).keys() == {"payload", "payloadType", "signatures"}
    for place in range(first, last):
        bundle["receipts"][0]["body"] = body[:place] + chr(ord(body[place]) ^ 1) + body[place + 1 :]
        assert not accepted(json.dumps(bundle).encode()), f"byte {place - first} of the envelope"


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_byte_of_a_file(mask: int) -> None:
    """No byte of a file without white space can be another one."""
    data = bytearray(json.dumps(story().days(1).bundle(), separators=(",", ":"), ensure_ascii=False).encode())
    assert accepted(bytes(data))
    for place in range(len(data)):
        data[place] ^= mask
        assert not accepted(bytes(data)), f"byte {place}: {bytes(data[max(0, place - 40) : place + 20])!r}"
        data[place] ^= mask


def test_every_length_of_a_file() -> None:
    """A file that is torn anywhere is unreadable."""
    data = whole()
    assert not any(accepted(data[:length]) for length in range(0, len(data), 7))


@given(st.data())
def test_spliced_files(data: st.DataObject) -> None:
    """A file with a piece left out, put in, doubled or replaced anywhere is refused, or is the same evidence after all."""
    good = whole()
    first, last = sorted((data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))))
    piece = data.draw(st.binary(max_size=8) | st.just(good[first:last] * 2) | st.sampled_from([b"\\u0000", b"[[", b'"', b"null", b"1e9"]))
    made = good[:first] + piece + good[last:]
    if accepted(made):
        assert less(json.loads(made), json.loads(good))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b"{" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"version":' + b"9" * 10_000 + b"}",
        b'{"version":NaN}',
        b'{"version":1e999}',
        b'{"version":1,"version":1}',
        b"\xef\xbb\xbf{}",
        b'{"\\ud800":1}',
        b'{"version":1,"contract":{"contractId":"\\u001b[31m"}}',
    ],
)
def test_no_bundle_at_all(data: bytes) -> None:
    """Whatever the bytes are, they are refused with one printable line."""
    assert not accepted(data)


# Under his own signature an operator may say these as he likes: no reading and no sum speaks of them.
UNJUDGED = {
    "operator.softwareDigest",
    "incidents.#.start",
    "incidents.#.end",
    "incidents.#.lots",
    "incidents.#.cause",
    "meter.kind",
    "meter.missedSamples",
    "leftOut",
}


def signed(change: Callable[[JSON], object]) -> bytes:
    """A receipt that the operator changed before he signed and logged it."""
    told = story()
    told.edit = change
    return json.dumps(told.days(1).bundle()).encode()


def holdable(mutant: tuple[Path, Any]) -> bool:
    """Can a payload hold it? None holds half a surrogate pair."""
    return "\\ud800" not in json.dumps(mutant[1])


def test_every_field_that_the_operator_signs() -> None:
    """A receipt that says something else in any field, signed and logged by the operator himself, contradicts another step."""
    first = story().days(1).receipts[0]
    incident = first["incidents"][0]
    for path, made in filter(holdable, mutants(first)):
        if accepted(signed(partial(dict.update, predicate=made))):
            causeless = [{"cause": incident["cause"], **made["incidents"][0]}]
            assert named(path) in UNJUDGED or causeless == first["incidents"], f"{named(path)} was changed and accepted"


def test_every_field_of_a_statement() -> None:
    """So does one with something else around what it says."""
    statement: JSON = {}
    signed(lambda made: statement.update(deepcopy(made)))
    predicate = statement.pop("predicate")
    for path, made in filter(holdable, mutants(statement)):
        if isinstance(made, dict):
            assert not accepted(signed(partial(_become, made={**made, "predicate": predicate}))), named(path)


def _become(statement: JSON, made: JSON) -> None:
    statement.clear()
    statement.update(made)


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "duplicate": lambda text: text.replace(b'{"_type"', b'{"_type":1,"_type"', 1),
    "spaces": lambda text: text.replace(b",", b", ", 1),
    "float": lambda text: text.replace(b'"version":1', b'"version":1.0', 1),
    "nan": lambda text: text.replace(b'"version":1', b'"version":NaN', 1),
    "order": lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")).encode(),
    "escape": lambda text: text.replace(b"Xid79", b"\\u0058id79", 1),
    "nothing": lambda text: b"",
}


@pytest.mark.parametrize("form", SPOILT)
def test_payloads_that_are_not_canonical(form: str) -> None:
    """A payload has one form: another one is not read, although it is signed."""

    class Spoiling(Key):
        def envelope(self, payload: bytes, kind: str = IN_TOTO) -> JSON:
            return super().envelope(SPOILT[form](payload), kind)

    told = story()
    told.key = Spoiling(RECEIPTS.name)
    code, lines = verify({"a.json": json.dumps(told.days(1).bundle()).encode()}, TRUST)
    assert (code, lines[-1].startswith("REFUSED (1): a.json: receipt 1: payload")) == (1, True)


def test_every_field_of_a_trust_file() -> None:
    """A trust file with a field that is missing, unknown or of another type is unreadable."""
    good = trust()
    for path, made in mutants(good):
        before, after = cast(Any, good), made
        for key in path:
            before, after = before[key], after[key]
        code, _ = verify({"a.json": whole()}, json.dumps(made).encode())
        assert type(before) is type(after) is not dict or code == 1, named(path)
