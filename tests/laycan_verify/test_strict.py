"""JSON that has one meaning, in one form, or a sentence that says where it has not."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from laycan_verify.strict import UnreadableError, between, canonical, clock, digest, octets, octets32, parse, read, time
from tests.laycan_verify import writer

SHAPE = {"name": "[a-z]+", "at?": time, "sizes": [between(0, 9)], "rest": {"x": int, ...: ...}, "same?": {...: [between(0, 9)]}}
GOOD: dict[str, Any] = {"name": "abc", "sizes": [1, 2], "rest": {"x": -1, "y": None}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a":1,"a":1}', "a key stands twice in the object that begins with 'a'"),
        (b'{"b":{"c":1,"a":2,"a":3}}', "a key stands twice in the object that begins with 'c'"),
        (b"1.0", "1.0 is no integer"),
        (b"1e3", "1e3 is no integer"),
        (b"-0.0", "-0.0 is no integer"),
        (b"[NaN]", "NaN is no integer"),
        (b"-Infinity", "-Infinity is no integer"),
        (b"\xff", "can't decode byte"),
        (b"{}x", "Extra data"),
        (b"", "Expecting value"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 200_000, ""),
        (b"9" * 5_000, "limit"),
    ],
)
def test_texts_without_one_meaning(text: bytes, words: str) -> None:
    """Duplicate keys, floats, other encodings and other rubbish are refused with the file's name."""
    with pytest.raises(UnreadableError, match=r"^c\.json cannot be read: ") as refused:
        parse(text, "c.json")
    assert words in str(refused.value)


@pytest.mark.parametrize("value", [2**53, -(2**53), 1.5, "\ud800", {"\udfff": 1}, {1: 2}, object()])
def test_values_without_canonical_form(value: object) -> None:
    """Integers that a double cannot hold, and text that UTF-8 cannot, have no canonical bytes."""
    if value == 1.5:
        assert canonical(value, "x") == b"1.5"
        return
    with pytest.raises(UnreadableError, match=r"^x has no canonical form: "):
        canonical(value, "x")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text('aé\n"\\😀\u2028'),
        lambda v: st.lists(v) | st.dictionaries(st.text("abc"), v),
    )
)
def test_one_form(value: object) -> None:
    """The writer of the tests and rfc8785 agree about canonical bytes, and what they write is read as it was."""
    assert canonical(value, "x") == rfc8785.dumps(value) == writer.canonical(value)  # type: ignore[arg-type]
    assert parse(canonical(value, "x"), "x") == value
    assert digest(canonical(value, "x")) == writer.digest(value)


class TestShapes:
    def test_converted(self) -> None:
        """Times become seconds, the rest stays; what the shape leaves open is kept as it is."""
        assert read(SHAPE, {**GOOD, "at": "1970-01-02T00:00:00Z", "same": {"a": [1]}}, "f") == {**GOOD, "at": 86_400, "same": {"a": [1]}}

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"name": None}, "f.name must be of type str"),
            ({"name": "ABC"}, "f.name must be of the form [a-z]+"),
            ({"name": "abc\n"}, "f.name must be of the form [a-z]+"),
            ({"at": "1970-01-02"}, "f.at must be a time of the form 2027-01-04T00:00:00Z"),
            ({"at": None}, "f.at must be of type str"),
            ({"sizes": {}}, "f.sizes must be of type list"),
            ({"sizes": [1, True]}, "f.sizes[1] must be of type int"),
            ({"sizes": [-1]}, "f.sizes[0] must be from 0 to 9"),
            ({"rest": {}}, "f.rest lacks 'x'"),
            ({"rest": {"x": True}}, "f.rest.x must be of type int"),
            ({"same": {"a": [], "b": 1}}, "f.same.b must be of type list"),
            ({"more": 1}, "f has a field that version 1 does not know, 'more'"),
        ],
    )
    def test_not_of_the_shape(self, change: dict[str, Any], words: str) -> None:
        """One sentence names the field."""
        with pytest.raises(UnreadableError) as refused:
            read(SHAPE, {**GOOD, **change}, "f")
        assert str(refused.value) == words


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-04T00:00:00+00:00",
        "2027-01-04T00:00:00.0Z",
        "2027-01-04t00:00:00z",
        "2027-01-04 00:00:00Z",
        "20270104T000000Z",
        "2027-02-29T00:00:00Z",
        "2027-01-04T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01",
        "2027-01-04T00:00Z",
        "",
        "٢٠٢٧-01-04T00:00:00Z",
    ],
)
def test_an_instant_has_one_text(text: str) -> None:
    """Other spellings, dates that do not exist and leap seconds are no times."""
    with pytest.raises(ValueError):
        time(text)


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_times_are_read_as_they_are_written(seconds: int) -> None:
    """From year 1 to year 9999."""
    assert time(clock(seconds)) == seconds


@pytest.mark.parametrize("text", ["AB==", "AAB=", "AA", "AA=", "AA==\n", "A A=", "-_==", "A", "é=="])
def test_bytes_have_one_text(text: str) -> None:
    """Base64 with bits to spare, white space, another alphabet or without padding is refused."""
    with pytest.raises(ValueError):
        octets(text)


def test_thirty_two_bytes() -> None:
    """A hash and a key are 32 bytes."""
    assert octets32(writer.b64(bytes(32))) == bytes(32)
    with pytest.raises(ValueError, match="must be 32 bytes"):
        octets32(writer.b64(bytes(31)))
