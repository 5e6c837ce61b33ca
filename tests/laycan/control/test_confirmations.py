"""A new contract is the one that was traded: its confirmation and the digest that somebody wrote on it, where there are any."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from laycan.control.admission import Screening, screen
from laycan.control.specs import Specs
from laycan.kube.views import ContractView
from laycan.resources.digest import terms_digest
from laycan.resources.times import format_time
from tests.laycan.control.acts import envelope, trusted
from tests.laycan.control.town import HOUR, NOW, SETTINGS, contract, world

TERMS = contract("c1").spec["terms"]
KIND = "application/vnd.laycan.terms+json"
ANNOTATION = "laycan.dev/terms-digest"


def screened(one: ContractView, *keys: dict[str, Any]) -> Screening:
    made = world([one])
    spec = {"url": "https://gcx.example/hook", "secretRef": {"name": "k", "key": "k"}, **({"trustedKeys": list(keys)} if keys else {})}
    made.endpoints["desk/gcx"] = {"metadata": {"namespace": "desk", "name": "gcx", "resourceVersion": "1"}, "spec": spec}
    return screen(made, Specs(), SETTINGS, NOW)


def confirmed(text: str, **terms: Any) -> ContractView:
    return contract("c1", spec={"exchangeRef": {"name": "gcx"}, "confirmation": {"envelope": text}}, **terms)


def refusal(found: Screening) -> tuple[str, str]:
    """Code and message; empty for a candidate."""
    if found.candidates:
        return "", ""
    reason = found.decided["desk/c1"].reason
    assert reason is not None
    return reason.code, reason.message


class TestConfirmation:
    def test_by_the_exchange(self) -> None:
        """Over these terms, by a key that the endpoint trusts: it is planned."""
        assert refusal(screened(confirmed(envelope(TERMS, 1, kind=KIND)), trusted(2), trusted(1))) == ("", "")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (envelope({**TERMS, "contractId": "another"}, 1, kind=KIND), "payload is not terms"),
            (envelope(TERMS, 2, kind=KIND), "no key for confirmations that is trusted as 'key-2'"),
            (envelope(TERMS, 2, kind=KIND, key_id="key-1"), "no key for confirmations that is trusted as 'key-1'"),
            (base64.b64encode(b"{}").decode(), "lacks 'payload'"),
            (base64.b64encode(b"[" * 9000).decode(), "cannot be read"),
            ("AAAB=AAA", "spec.confirmation.envelope"),
        ],
        ids=["other terms", "a stranger", "in another's name", "empty", "nested", "no base64"],
    )
    def test_not_the_exchanges(self, text: str, says: str) -> None:
        """Refused with the reason and what to do: a stranger would not believe the evidence of it."""
        code, message = refusal(screened(confirmed(text), trusted(1)))
        assert (code in ("BadSignature", "Malformed"), says in message) == (True, True), (code, message)
        assert code == "Malformed" or message.startswith("spec")

    @pytest.mark.parametrize(
        ("key", "traded", "code"),
        [
            ({"validFrom": format_time(NOW - HOUR)}, NOW - HOUR, ""),
            ({"validFrom": format_time(NOW - HOUR)}, NOW - HOUR - 1, "BadSignature"),
            ({"revokedAt": format_time(NOW - HOUR)}, NOW - HOUR, "BadSignature"),
            ({"revokedAt": format_time(NOW)}, NOW - HOUR, ""),
        ],
    )
    def test_when_it_was_traded(self, key: dict[str, str], traded: int, code: str) -> None:
        """The key must have been valid then, as the verifier asks."""
        terms = {**TERMS, "tradeTime": format_time(traded)}
        one = confirmed(envelope(terms, 1, kind=KIND), tradeTime=format_time(traded))
        assert refusal(screened(one, trusted(1, **key)))[0] == code

    def test_an_exchange_without_keys(self) -> None:
        """Nobody could check it: it goes with the evidence as it is."""
        assert refusal(screened(confirmed(envelope(TERMS, 1, kind=KIND)))) == ("", "")


class TestDigest:
    @pytest.mark.parametrize("exchange", [{}, {"exchangeRef": {"name": "gcx"}}], ids=["local", "exchange"])
    def test_right_and_wrong(self, exchange: dict[str, Any]) -> None:
        """A digest that is written on a contract must be that of its terms."""
        right = terms_digest(TERMS)
        assert refusal(screened(contract("c1", spec=exchange, meta={"annotations": {ANNOTATION: right}}))) == ("", "")
        wrong = "sha256:" + "0" * 64
        code, message = refusal(screened(contract("c1", spec=exchange, meta={"annotations": {ANNOTATION: wrong}})))
        assert code == "Malformed"
        assert message.startswith(f"metadata.annotations[{ANNOTATION}]: is {wrong}, and the digest of spec.terms is {right};")
