"""Digests depend on what was agreed and on nothing else."""

import hashlib
import json

from laycan.resources.digest import PROMISE_FIELDS, digest, health_policy_digest, product_digest, terms_digest
from laycan.resources.product import ProductSpec
from laycan.resources.verdict import DEFAULT_POLICY

TERMS = {
    "contractId": "GCX-1",
    "productRef": {"name": "h100-sxm5-80g"},
    "delivery": {"start": "2030-01-04T00:00:00Z", "end": "2030-01-05T00:00:00Z", "gpus": 8, "lotGpus": 8},
}
PRODUCT = {"gpuProducts": ["NVIDIA-H100-80GB-HBM3"], "nodeGpus": 8, "turnaroundSeconds": 60}


def test_canonical_bytes() -> None:
    """For ASCII text and integers RFC 8785 is sorted JSON without white space, which the standard library can write too."""
    plain = json.dumps(TERMS, sort_keys=True, separators=(",", ":")).encode()
    assert terms_digest(TERMS) == "sha256:" + hashlib.sha256(plain).hexdigest()


def test_key_order_does_not_matter() -> None:
    """Two writers of the same terms get the same digest."""
    assert digest(TERMS) == digest(dict(reversed(TERMS.items())))


def test_a_product_digest_covers_the_promise_alone() -> None:
    """What the operator may change leaves the digest as it is; what was promised does not."""
    whole = product_digest("h100", PRODUCT)
    assert product_digest("h100", {**PRODUCT, "turnaroundSeconds": 5, "planning": {"move": {"seconds": 1}}}) == whole
    assert product_digest("h100", {**PRODUCT, "nodeGpus": 4}) != whole
    assert product_digest("h200", PRODUCT) != whole


def test_promise_fields_exist() -> None:
    """Every field of the promise is a field of the product."""
    assert set(PROMISE_FIELDS) <= set(ProductSpec.model_json_schema(by_alias=True)["properties"])


def test_health_policy() -> None:
    """The digest is of the policy with every default said: what a product leaves open is pinned too."""
    assert health_policy_digest({"health": {"version": "2"}}) != health_policy_digest({})
    assert health_policy_digest({}) == health_policy_digest({"health": dict(DEFAULT_POLICY)})
    assert health_policy_digest({"health": {"version": "default", "fatalXids": [79, 46]}}) == health_policy_digest(
        {"health": {"version": "default", "fatalXids": [46, 79, 79]}}
    )
