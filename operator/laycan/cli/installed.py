"""Where the release is, and what its settings say: from the files in the operator's pod, else from the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from laycan.settings import Settings, load_settings

if TYPE_CHECKING:
    from laycan.kube.client import Client

MOUNTED_SETTINGS = Path("/etc/laycan/settings.yaml")
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def release_namespace(given: str) -> str:
    """The one that was named, else the pod's own, else the chart's default."""
    if given:
        return given
    return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else Settings().namespace


def mounted_settings() -> Settings | None:
    """Those of the operator's pod; None elsewhere."""
    return load_settings(MOUNTED_SETTINGS) if MOUNTED_SETTINGS.exists() else None


async def operator_of(client: Client, namespace: str) -> str:
    """The operator's id. Raises ApiError, and pydantic's ValidationError for settings that this version does not know."""
    settings = mounted_settings()
    if settings is None:
        rendered = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/laycan-settings")
        settings = Settings.model_validate(yaml.safe_load(rendered["data"]["settings.yaml"]))
    cluster = await client.get("/api/v1/namespaces/kube-system")
    return settings.operator(cluster["metadata"]["uid"])
