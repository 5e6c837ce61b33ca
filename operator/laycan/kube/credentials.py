"""How to reach the API server: its address, whom to trust, and who we are.

The `kubernetes` library reads kubeconfigs, runs exec plugins and finds the ServiceAccount's files; nothing else of it is used.
It is imported when it is needed, because the import alone takes a fifth of a second.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import YAMLError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where a kubelet puts a pod's token and the API server's certificate


class CredentialsError(Exception):
    """No usable kubeconfig and not in a cluster; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """`authorization()` is the value of that header, "" without; it re-reads a rotated token, so it is asked for each request."""

    server: str  # base URL without a trailing slash
    tls: ssl.SSLContext | None  # None: plain HTTP
    authorization: Callable[[], str]
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    insecure: bool = False


def pod_credentials(account: Path | None = None) -> Credentials | None:
    """The ServiceAccount's, in a pod, without the library: for a process that is to stay small. None elsewhere."""
    account = account or ACCOUNT
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    token, authority = account / "token", account / "ca.crt"
    if not host or not token.exists():
        return None
    return Credentials(
        server=f"https://[{host}]:{port or 443}" if ":" in host else f"https://{host}:{port or 443}",
        tls=ssl.create_default_context(cafile=str(authority)),
        authorization=lambda: f"Bearer {token.read_text().strip()}",
        ca_file=str(authority),
    )


def load_credentials(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """From the given kubeconfig, else from the ServiceAccount when in a cluster, else from $KUBECONFIG or ~/.kube/config.

    `context` picks one of the kubeconfig's; a ServiceAccount has none, so naming one asks for a kubeconfig. Raises CredentialsError.
    """
    from kubernetes import client, config

    found = client.Configuration()
    try:
        if kubeconfig is None and context is None and Path(config.incluster_config.SERVICE_TOKEN_FILENAME).exists():
            config.load_incluster_config(client_configuration=found)
        else:
            file = str(kubeconfig) if kubeconfig else None
            config.load_kube_config(config_file=file, context=context, client_configuration=found)
    except config.ConfigException as error:
        mend = f"; `kubectl config get-contexts` lists what --context {context} may name" if context else ""
        raise CredentialsError(f"cannot reach a cluster: {error}; give --kubeconfig FILE or set KUBECONFIG{mend}") from error
    except (OSError, YAMLError, TypeError, AttributeError, ValueError) as error:  # the library takes any file for a kubeconfig
        raise CredentialsError(f"not a readable kubeconfig: {kubeconfig or 'the default one'}: {error}") from error
    return Credentials(
        server=found.host.rstrip("/"),
        tls=_tls(found) if found.host.startswith("https") else None,
        authorization=lambda: _authorization(found),
        ca_file=found.ssl_ca_cert,
        certificate_file=found.cert_file,
        key_file=found.key_file,
        insecure=not found.verify_ssl,
    )


def _authorization(found: Any) -> str:
    bearer = found.get_api_key_with_prefix("BearerToken")  # runs the hook that re-reads the token
    if bearer:
        scheme, _, token = str(bearer).partition(" ")
        return f"Bearer {token.strip()}" if scheme.lower() == "bearer" else str(bearer)
    return str(found.get_basic_auth_token() or "") if found.username else ""


def _tls(found: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if not found.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        context.load_cert_chain(found.cert_file, found.key_file)
    return context
