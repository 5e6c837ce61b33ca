"""What the chart's pods ask of the image is what the Dockerfile makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from laycan.cli.main import COMMANDS
from tests.chart.conftest import Render
from tests.release.test_image import instructions

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def pods(render: Render) -> dict[str, Any]:
    """The specs of the operator's pod, the agent's, and that of the Job at the uninstall."""
    kinds = ("Deployment", "DaemonSet", "Job")
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in render() if found["kind"] in kinds}


def test_user_and_command(render: Render) -> None:
    """Each pod runs as the image's user, on a read-only root, a command of `laycan`, which it names itself."""
    user = [rest for word, rest in instructions(DOCKERFILE.read_text()) if word == "USER"][-1]
    found = pods(render)
    assert found.keys() == {"laycan-operator", "laycan-agent", "laycan-release"}
    for name, pod in found.items():
        security, (container,) = pod["securityContext"], pod["containers"]
        assert f"{security['runAsUser']}:{security['runAsGroup']}" == user, name
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert "command" not in container
        assert container["args"][0] == "laycan"
        assert container["args"][1] in COMMANDS
    assert len({pod["containers"][0]["image"] for pod in found.values()}) == 1
