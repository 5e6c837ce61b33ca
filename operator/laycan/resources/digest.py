"""Digests of what was agreed: SHA-256 over RFC 8785 (JSON Canonicalization Scheme) bytes, written `sha256:<hex>`.

Canonical bytes make the digest independent of key order, white space and of who serialised the object, so an exchange, a desk
and an auditor compute the same one from the same terms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from laycan.resources.verdict import resolved

# What a product promises. All else of its spec is the operator's own business, or versioned by itself (health).
PROMISE_FIELDS = ("gpuProducts", "nodeGpus", "lotGpus", "level", "tolerance", "detection", "interruption")


def digest(value: Any) -> str:
    """Digest of a JSON value; raises rfc8785.CanonicalizationError for what JSON cannot hold exactly (integers beyond 2^53)."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def terms_digest(terms: Mapping[str, Any]) -> str:
    """Digest of `spec.terms` as it stands in the resource, without defaults."""
    return digest(dict(terms))


def product_digest(name: str, spec: Mapping[str, Any]) -> str:
    """Digest of a product's name and the promise part of its spec."""
    return digest({"name": name, "promise": {field: spec[field] for field in PROMISE_FIELDS if field in spec}})


def health_policy_digest(spec: Mapping[str, Any]) -> str:
    """Digest of a product's health policy with every default said, so that a newer version's defaults change no contract."""
    return digest(resolved(spec.get("health")))
