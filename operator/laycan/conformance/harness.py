"""What a run may do beyond the API: on a cluster of its own everything, on somebody else's nothing."""

from __future__ import annotations

from typing import Protocol

from laycan.conformance.attack import Ability


class Harness(Protocol):
    """Methods block until what they do is done; each is called only where `abilities` has what it takes."""

    abilities: frozenset[Ability]

    def doom_operator(self, write: int) -> None:
        """The operator shall die before its n-th write from now (1: the next), and not before any that was said earlier."""

    def operator_died(self) -> bool:
        """Whether it has, since."""

    def operator_writes(self) -> int:
        """How many writes it has made since it was doomed."""

    def start_operator(self, **settings: object) -> None:
        """Ends the operator if it runs, and starts one with these settings changed."""

    def silence(self, node: str) -> None:
        """The node's kubelet says no more; its pods stay as they are."""

    def revive(self, node: str) -> None:
        """It speaks again."""

    def set_gpus(self, node: str, gpus: int) -> None:
        """The device plugin reports so many healthy GPUs."""

    def swap_gpu(self, node: str, device: str) -> None:
        """Another card answers to this device name, as after a repair."""

    def restart_api_server(self) -> None:
        """Kills it, and brings it back after a while."""

    def restart_controllers(self) -> None:
        """The same for the controller manager."""

    def upgrade(self) -> None:
        """`helm upgrade` with the values of the install: what was deleted of the chart is there again."""

    def reinstall(self, by_namespace: bool = False) -> None:
        """`helm uninstall`, or the removal of the release's namespace; then `helm install`, and an operator again."""


class Foreign:
    """Somebody else's cluster."""

    abilities: frozenset[Ability] = frozenset()

    def doom_operator(self, write: int) -> None:
        raise NotImplementedError

    def operator_died(self) -> bool:
        raise NotImplementedError

    def operator_writes(self) -> int:
        raise NotImplementedError

    def start_operator(self, **settings: object) -> None:
        raise NotImplementedError

    def silence(self, node: str) -> None:
        raise NotImplementedError

    def revive(self, node: str) -> None:
        raise NotImplementedError

    def set_gpus(self, node: str, gpus: int) -> None:
        raise NotImplementedError

    def swap_gpu(self, node: str, device: str) -> None:
        raise NotImplementedError

    def restart_api_server(self) -> None:
        raise NotImplementedError

    def restart_controllers(self) -> None:
        raise NotImplementedError

    def upgrade(self) -> None:
        raise NotImplementedError

    def reinstall(self, by_namespace: bool = False) -> None:
        raise NotImplementedError
