"""Amounts are exact both ways."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.resources.money import format_money, parse_money


@given(st.integers(0, 10**15 - 1))
def test_round_trip(micros: int) -> None:
    """No micro is lost in the text."""
    assert parse_money(format_money(micros)) == micros


@given(st.from_regex(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?", fullmatch=True, alphabet="0123456789."))
def test_exact(text: str) -> None:
    """The micros are the decimal times a million, with no rounding."""
    assert parse_money(text) == Fraction(text) * 10**6


@pytest.mark.parametrize("text", ["-1", "+1", "1e3", "01", ".5", "1.", "1,5", "1.0000001", "1000000000", "", " 1", "1\n", "١"])
def test_what_is_no_amount(text: str) -> None:
    """Signs, exponents, other digits and more than six decimals are refused."""
    with pytest.raises(ValueError, match="not an amount"):
        parse_money(text)


def test_debts_keep_their_sign() -> None:
    """The sign comes before the digits also below one."""
    assert format_money(-500_000) == "-0.50"
