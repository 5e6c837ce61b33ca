"""The trust file: whose keys count, for what. Public halves only; what an auditor gives to `laycan verify`, and keeps."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from laycan.events.evidence_keys import RETIRED, USES, EvidenceKeys
from laycan.kube.sound import mapping, text_at
from laycan.ledger.keys import Signer

Json = Mapping[str, Any]
EXCHANGE_USES = ("confirmations", "instructions")


def trust_file(operator: str, keys: EvidenceKeys, retired: Iterable[Json], endpoints: Iterable[Json]) -> dict[str, Any]:
    """Keys in use, their successors and their predecessors; keys and witnesses of all ExchangeEndpoints, which are raw objects.

    A witness has no times in the file: one whose key was revoked, or will be, is left out.
    """
    own = {use: [getattr(keys, use)] for use in USES}
    for rotation in keys.rotations:
        own[rotation.use].append(rotation.new)
    mine = [public(use, signer) for use, signers in own.items() for signer in signers]
    known = {(key["use"], key["keyId"]) for key in mine}
    exchanges = sorted((exchange(each) for each in endpoints), key=lambda each: str(each["name"]))
    return {
        "version": 1,
        "operator": {"id": operator, "keys": [*mine, *(dict(key) for key in retired if (key["use"], key["keyId"]) not in known)]},
        "exchanges": [{"name": each["name"], "keys": each["keys"]} for each in exchanges],
        "witnesses": _distinct(witness for each in exchanges for witness in each["witnesses"]),
    }


def public(use: str, signer: Signer) -> dict[str, str]:
    return {"keyId": signer.key_id, "use": use, "publicKey": base64.b64encode(signer.public_key).decode()}


def exchange(endpoint: Json) -> dict[str, Any]:
    """What one ExchangeEndpoint trusts."""
    trusted = [mapping(key) for key in mapping(endpoint.get("spec")).get("trustedKeys") or ()]
    return {
        "name": f"{text_at(endpoint, 'metadata', 'namespace')}/{text_at(endpoint, 'metadata', 'name')}",
        "keys": [
            {"keyId": key["keyId"], "use": use, "publicKey": key["publicKey"], **_times(key)} for use in EXCHANGE_USES for key in trusted
        ],
        "witnesses": [{"name": key["keyId"], "publicKey": key["publicKey"]} for key in trusted if not key.get("revokedAt")],
    }


def retired_of(data: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Former keys, as the Secret keeps them. Raises ValueError where that cannot be read."""
    found = json.loads(data.get(RETIRED) or b"[]")
    if not isinstance(found, list) or not all(isinstance(key, dict) and {"keyId", "use", "publicKey"} <= key.keys() for key in found):
        raise ValueError(f"{RETIRED} is no list of {{keyId, use, publicKey}}")
    return found


def _times(key: Json) -> dict[str, str]:
    return {name: key[name] for name in ("validFrom", "revokedAt") if key.get(name)}


def _distinct(witnesses: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """One witness may stand behind several endpoints."""
    return list({witness["publicKey"]: witness for witness in witnesses}.values())
