"""Where the server is, whom to trust and who we are, from a kubeconfig."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
import yaml

from laycan.kube.credentials import CredentialsError, load_credentials, pod_credentials


def kubeconfig(folder: Path, server: str, **user: str) -> Path:
    cluster = {"server": server, **({"insecure-skip-tls-verify": True} if server.startswith("https") else {})}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def test_a_token_becomes_a_bearer_header(tmp_path: Path) -> None:
    """Once `Bearer`, whatever the library puts in front of it."""
    found = load_credentials(kubeconfig(tmp_path, "http://127.0.0.1:8001/", token="t0ken"))
    assert (found.server, found.authorization(), found.tls) == ("http://127.0.0.1:8001", "Bearer t0ken", None)


def test_https_is_spoken_over_tls(tmp_path: Path) -> None:
    """Verification is off only where the kubeconfig says so."""
    found = load_credentials(kubeconfig(tmp_path, "https://127.0.0.1:6443", token="t0ken"))
    assert found.insecure
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_NONE


def test_without_any_configuration_the_error_says_what_to_do(tmp_path: Path) -> None:
    """A person reads this first."""
    with pytest.raises(CredentialsError, match="--kubeconfig"):
        load_credentials(tmp_path / "missing")


@pytest.mark.parametrize("text", ["words", "a: [", "[]", "\x00", "clusters: 1"])
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    """Any file may be given for one, and a folder."""
    (tmp_path / "file").write_text(text)
    for wrong in (tmp_path, tmp_path / "file"):
        with pytest.raises(CredentialsError, match=re.escape(str(wrong)) if wrong == tmp_path else "kubeconfig|kube-config"):
            load_credentials(wrong)


def test_a_pods_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and port from the environment, the token read anew for each request, because kubelets replace it."""
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: cafile)
    (tmp_path / "token").write_text("t0ken\n")
    assert pod_credentials(tmp_path) is None
    for host, server in (("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
        found = pod_credentials(tmp_path)
        assert found is not None
        assert (found.server, found.authorization(), str(found.tls)) == (server, "Bearer t0ken", str(tmp_path / "ca.crt"))
        (tmp_path / "token").write_text("rotated")
        assert found.authorization() == "Bearer rotated"
        (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "token").unlink()
    assert pod_credentials(tmp_path) is None


def test_the_context_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the current one; also in a pod, whose ServiceAccount has none. One that is not there is told with how to find it."""
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    config = yaml.safe_load(file.read_text())
    config["clusters"].append({"name": "d", "cluster": {"server": "http://127.0.0.1:2"}})
    config["contexts"].append({"name": "y", "context": {"cluster": "d", "user": "u"}})
    file.write_text(yaml.safe_dump(config))
    assert [load_credentials(file, context).server for context in (None, "x", "y")] == [f"http://127.0.0.1:{n}" for n in (1, 1, 2)]
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(file))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    assert load_credentials(None, "y").server == "http://127.0.0.1:2"
    with pytest.raises(CredentialsError, match="kubectl config get-contexts"):
        load_credentials(file, "z")
