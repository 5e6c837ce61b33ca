"""Reads webhook keys from Secrets, one key of one Secret at a time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable

from laycan.kube.client import ApiError, Client


def secret_reader(client: Client) -> Callable[[str, str, str], Awaitable[bytes]]:
    """`get_secret` of the Sender: (namespace, name, key) -> value; raises LookupError when it cannot be had."""

    async def read(namespace: str, name: str, key: str) -> bytes:
        try:
            secret = await client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
            return base64.b64decode((secret.get("data") or {})[key], validate=True)
        except ApiError as error:
            values = f"is {namespace} in the chart's exchangeNamespaces, and {name} in its exchangeSecretNames?"
            mend = f"; {values}" if error.status == 403 else ""
            raise LookupError(f"Secret {namespace}/{name} cannot be read: {error}{mend}") from error
        except (KeyError, binascii.Error):
            raise LookupError(f"Secret {namespace}/{name} holds no key {key!r}") from None

    return read
