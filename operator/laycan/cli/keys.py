"""`laycan keys`: the trust file from the keys in use; new keys; one key after another."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from laycan.cli.output import EXIT_BAD_INPUT, EXIT_VIOLATION, say, write

if TYPE_CHECKING:
    from laycan.kube.client import Client

Use = Literal["receipts", "checkpoints", "webhooks"]


class _RefusedError(Exception):
    """What was asked for is not to be done; the message says why."""


def keys(
    new: Annotated[bool, typer.Option("--new", help="Print a Secret with fresh keys. Nothing is asked of a cluster.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="With --new: create it in the cluster instead; never over one that is there.")
    ] = False,
    rotate: Annotated[Use | None, typer.Option(help="Put a fresh key beside the one in use, which announces it.")] = None,
    finish: Annotated[Use | None, typer.Option(help="Take the old key away, once the new one is announced everywhere.")] = None,
    stolen: Annotated[
        str, typer.Option(metavar="TIME", help="With --finish: since when the old key is in others' hands, as 2027-01-04T00:00:00Z.")
    ] = "",
    namespace: Annotated[str, typer.Option(help="Namespace of the release.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: the ServiceAccount in a cluster, else $KUBECONFIG.")] = None,
) -> None:
    """Print the trust file; make and change signing keys.

    Without options: the public halves of the keys in use, coming and former, and those of all ExchangeEndpoints, as `laycan verify`
    takes them.

    Needs: with --new nothing; else a kubeconfig that may read Secrets of the release's namespace and list ExchangeEndpoints, and with
    --apply, --rotate and --finish write that Secret.

    Example:
      laycan keys --new --namespace laycan-system | kubectl create -f -
      laycan keys > trust.json
      laycan keys --rotate receipts

    Exit: 0 done, 1 not as things are (and why), 2 bad usage, or no cluster.
    """
    from laycan.cli.installed import release_namespace
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError

    where = release_namespace(namespace)
    if sum(map(bool, (new, rotate, finish))) > 1 or (apply and not new) or (stolen and not finish) or not _is_time(stolen):
        say("error", ["--new, --rotate and --finish are one each, --apply goes with --new, --stolen TIME with --finish"])
        raise typer.Exit(EXIT_BAD_INPUT)
    try:
        if new and not apply:
            if sys.stdout.isatty():
                say("note", ["these are private keys; better: … | kubectl create -f -"])
            return write(_manifest(_fresh_secret(where)))
        write(asyncio.run(_in_cluster(kubeconfig, where, apply, rotate, finish, stolen)))
    except CredentialsError as error:
        say("error", [str(error)])
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except (_RefusedError, ApiError) as error:
        say("error", [str(error)])
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(error, ApiError) and error.status == 0 else EXIT_VIOLATION) from None


def _is_time(text: str) -> bool:
    """Or nothing."""
    from laycan.resources.times import parse_time

    try:
        return not text or parse_time(text) >= 0
    except ValueError:
        return False


async def _in_cluster(kubeconfig: Path | None, namespace: str, apply: bool, rotate: Use | None, finish: Use | None, stolen: str) -> bytes:
    from laycan.kube.client import Client
    from laycan.kube.credentials import load_credentials

    async with Client(load_credentials(kubeconfig)) as client:
        if apply:
            return await _create(client, namespace)
        if rotate or finish:
            return await (_rotate(client, namespace, rotate) if rotate else _finish(client, namespace, finish or "receipts", stolen))
        return await _trust(client, namespace)


async def _trust(client: Client, namespace: str) -> bytes:
    from laycan.cli.installed import operator_of
    from laycan.events.evidence_keys import read_keys
    from laycan.events.trust_file import retired_of, trust_file
    from laycan.resources.constants import API_VERSION

    _, data = await _secret(client, namespace)
    found, trouble = read_keys(data)
    if found is None:
        raise _RefusedError(trouble)
    say("note", [trouble] if trouble else [])
    endpoints = (await client.get(f"/apis/{API_VERSION}/exchangeendpoints"))["items"]
    try:
        made = trust_file(await operator_of(client, namespace), found, retired_of(data), endpoints)
    except ValueError as error:
        raise _RefusedError(str(error)) from None
    return json.dumps(made, indent=2).encode() + b"\n"


async def _create(client: Client, namespace: str) -> bytes:
    from laycan.events.evidence_keys import SECRET
    from laycan.kube.client import ApiError

    try:
        await client.create(f"/api/v1/namespaces/{namespace}/secrets", _fresh_secret(namespace))
    except ApiError as error:
        if error.status == 409:
            raise _RefusedError(f"Secret {namespace}/{SECRET} is there: its keys are not overwritten; --rotate changes one") from None
        raise
    return f"created Secret {namespace}/{SECRET}\n".encode()


async def _rotate(client: Client, namespace: str, use: Use) -> bytes:
    from laycan.events.evidence_keys import key_of, read_keys

    secret, data = await _secret(client, namespace)
    if read_keys(data)[0] is None:
        raise _RefusedError(read_keys(data)[1])
    if key_of(use, coming=True) in data:
        raise _RefusedError(f"{key_of(use, coming=True)} is there already: first --finish {use}")
    fresh = _fresh_key()
    after, trouble = read_keys({**data, key_of(use, coming=True): fresh})
    if after is None or trouble:
        raise _RefusedError(trouble)
    await _patch(client, secret, {key_of(use, coming=True): fresh})
    rotation = next(each for each in after.rotations if each.use == use)
    return (
        f"{rotation.old.key_id} announces {rotation.new.key_id} in every log within a minute.\n"
        f"Once laycan_key_rotations_pending is 0 and the exchanges have heard of it: laycan keys --finish {use}\n"
    ).encode()


async def _finish(client: Client, namespace: str, use: str, stolen: str) -> bytes:
    from laycan.events.evidence_keys import RETIRED, key_of, read_keys
    from laycan.events.trust_file import public, retired_of

    secret, data = await _secret(client, namespace)
    found, trouble = read_keys(data)
    rotation = next((each for each in found.rotations if each.use == use), None) if found else None
    if rotation is None:
        raise _RefusedError(trouble or f"there is no {key_of(use, coming=True)}: nothing is to be finished")
    try:
        retired = [*retired_of(data), public(use, rotation.old) | ({"revokedAt": stolen} if stolen else {})]
    except ValueError as error:
        raise _RefusedError(str(error)) from None
    coming = key_of(use, coming=True)
    await _patch(client, secret, {key_of(use): data[coming], coming: None, RETIRED: json.dumps(retired).encode()})
    signed = f"for what was witnessed before {stolen}" if stolen else "for what it signed"
    return f"{rotation.new.key_id} is the only key for {use}; {rotation.old.key_id} stays in the trust file {signed}\n".encode()


async def _secret(client: Client, namespace: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    from laycan.events.evidence_keys import SECRET, decoded
    from laycan.kube.client import ApiError

    try:
        found = await client.get(f"/api/v1/namespaces/{namespace}/secrets/{SECRET}")
    except ApiError as error:
        if error.status == 404:
            make = f"laycan keys --new --namespace {namespace} | kubectl create -f -"
            raise _RefusedError(f"there is no Secret {namespace}/{SECRET}; name the release's --namespace, or make it: {make}") from None
        raise
    return found, decoded(found)


async def _patch(client: Client, secret: dict[str, Any], data: dict[str, bytes | None]) -> None:
    """Changes these parts, unless somebody else changed it meanwhile."""
    meta = secret["metadata"]
    encoded = {key: None if value is None else base64.b64encode(value).decode() for key, value in data.items()}
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "data": encoded}
    await client.patch_merge(f"/api/v1/namespaces/{meta['namespace']}/secrets/{meta['name']}", body)


def _fresh_secret(namespace: str) -> dict[str, Any]:
    from laycan.events.evidence_keys import SALT, SECRET, USES, key_of

    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": {"app.kubernetes.io/name": "laycan"}},
        "type": "Opaque",
        "stringData": {**{key_of(use): _fresh_key().decode() for use in USES}, SALT: _fresh_salt()},
    }


def _fresh_key() -> bytes:
    """PKCS #8 in PEM, of randomness from the operating system."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _fresh_salt() -> str:
    import secrets

    from laycan.events.evidence_keys import SALT_BYTES

    return base64.b64encode(secrets.token_bytes(SALT_BYTES)).decode()


def _manifest(secret: dict[str, Any]) -> bytes:
    """JSON is YAML that nothing can misread."""
    return json.dumps(secret, indent=2).encode() + b"\n"
