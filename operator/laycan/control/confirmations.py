"""Whether a new contract is the one that was traded, as far as somebody said so: the exchange's signature over its terms, their digest.

The signature is judged as `laycan verify` will judge it: what is accepted here is not refused there. An exchange without trusted keys
signs nothing that could be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laycan.events.trust_file import exchange
from laycan.kube.views import ContractView
from laycan.resources.constants import TERMS_DIGEST_ANNOTATION
from laycan.resources.digest import terms_digest
from laycan.resources.validate import Refusal
from laycan_verify.bundle import Bundle
from laycan_verify.forms import KEY, TERMS
from laycan_verify.steps import confirmation
from laycan_verify.strict import RefusedError, octets, read
from laycan_verify.trust import Trust

Raw = Mapping[str, Any]
_PARTS = {"contract": dict, "terms": TERMS, "confirmation": {"envelope": octets}}  # of a bundle, those that the step reads


def unconfirmed(contract: ContractView, endpoint: Raw | None) -> Refusal | None:
    """Why its terms are not those that were agreed; `endpoint` is the exchange's raw object, which can be read, None without one."""
    terms, said = contract.spec["terms"], contract.annotations.get(TERMS_DIGEST_ANNOTATION)
    if said is not None and said != (right := terms_digest(terms)):
        text = f"is {said[:80]}, and the digest of spec.terms is {right}; send the terms that were agreed"
        return Refusal("Malformed", f"metadata.annotations[{TERMS_DIGEST_ANNOTATION}]: {text}")
    given = contract.spec.get("confirmation")
    keys = exchange(endpoint)["keys"] if given and endpoint is not None else []
    if not keys:
        return None
    raw = {"contract": {"exchange": "its exchange", "contractId": "", "uid": ""}, "terms": terms, "confirmation": given}
    try:
        bundle = Bundle("spec", raw, read(_PARTS, raw, "spec"), [], [])
        trust = Trust("", [], {"its exchange": read([KEY], keys, "spec.trustedKeys")}, {}, 0)
        list(confirmation(bundle, trust))
    except RefusedError as error:
        return Refusal("BadSignature", f"{error}; have the exchange sign the RFC 8785 bytes of spec.terms with a trusted key")
    return None
