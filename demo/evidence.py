"""The last act of the demo: somebody who trusts nobody here checks at home what was delivered: a file for each contract, no cluster.

`laycan keys` makes the operator's keys before it starts, and the trust file; `laycan evidence` exports the receipts of a contract with all
that proves them; `laycan verify` judges them. Then single bytes of a copy are changed, and `laycan verify` says which lie it is.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Object = dict[str, Any]
WITNESS = "gcx.example"

# Where one byte is changed: the words that lead to it in a bundle, and what the change would mean.
LIES: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("another number in a signed receipt", (b'"receipts":', b'payload\\":\\"')),
    ("other terms than were agreed", (b'"terms":', b'"gpus":')),
    ("another reading behind the amounts", (b'"readings":', b'"start":"2')),
    ("another entry in the log's proof", (b'"receipts":', b'"proof":["')),
)


class Verdict(NamedTuple):
    code: int  # 0: it holds
    lines: list[str]

    @property
    def reason(self) -> str:
        return self.lines[-1] if self.lines else ""


def available() -> bool:
    """Whether this build can export evidence."""
    return all(find_spec(f"laycan.cli.{command}") is not None for command in ("keys", "evidence", "verify"))


@dataclass(frozen=True)
class Evidence:
    """`folder` holds what would be handed out: the trust file and the bundles."""

    folder: Path
    kubeconfig: Path
    release: str  # its namespace
    logs: Path  # of the operator

    @property
    def trust(self) -> Path:
        return self.folder / "trust.json"

    @property
    def witness_key(self) -> Path:
        return self.folder / "witness.pem"

    @property
    def made(self) -> bool:
        """Whether there are keys: else nothing is proven."""
        return self.witness_key.exists()

    def make_keys(self) -> None:
        """Those of the operator, as a Secret, and that of the exchange, which cosigns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._laycan("keys", "--new", "--apply", "--namespace", self.release, "--kubeconfig", str(self.kubeconfig))
        key = Ed25519PrivateKey.generate()
        self.witness_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.witness_key.with_suffix(".pub").write_text(base64.b64encode(key.public_key().public_bytes_raw()).decode())

    def trusted_key(self) -> Object:
        """The exchange's, for the ExchangeEndpoint."""
        return {"keyId": WITNESS, "algorithm": "Ed25519", "publicKey": self.witness_key.with_suffix(".pub").read_text()}

    def publish(self) -> str:
        """Writes the trust file; the operator's id in it."""
        printed = self._laycan("keys", "--namespace", self.release, "--kubeconfig", str(self.kubeconfig))
        self.trust.write_text(printed)
        return str(json.loads(printed)["operator"]["id"])

    def receiver_options(self, endpoint: str) -> list[str]:
        """For the exchange's receiver, of which `endpoint` is `<namespace>/<name>`."""
        origin = f"{self.publish()}/{endpoint}"
        return ["--trust", str(self.trust), "--origin", origin, "--witness-key", str(self.witness_key), "--witness-name", WITNESS]

    def export(self, contract: str) -> Path:
        """The bundle of a contract, `<namespace>/<name>`."""
        path = self.folder / f"{contract.rpartition('/')[2]}.json"
        self._laycan("evidence", contract, "--out", str(path), "--ledger", str(self.logs), "--kubeconfig", str(self.kubeconfig))
        return path

    def verify(self, bundles: Sequence[Path]) -> Verdict:
        return verify(bundles, self.trust)

    @staticmethod
    def _laycan(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "laycan.cli.main", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"laycan {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def verify(bundles: Sequence[Path], trust: Path) -> Verdict:
    """What `laycan verify` says of files beside the trust file, with the readings required. It asks nobody: no cluster, no network."""
    names = [bundle.name for bundle in bundles]
    command = [sys.executable, "-m", "laycan_verify", *names, "--trust", str(trust), "--require-readings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=trust.parent)
    return Verdict(done.returncode, (done.stdout + done.stderr).splitlines())


def lies(bundle: Path) -> Iterator[tuple[str, Path]]:
    """Copies of a bundle with one byte changed in each, and what that would mean; a place that is not there is left out."""
    whole = bundle.read_bytes()
    for number, (what, landmarks) in enumerate(LIES):
        place = after(whole, landmarks)
        if place is not None:
            copy = bundle.with_suffix(f".{number}.json")
            copy.write_bytes(whole[:place] + other(whole[place]) + whole[place + 1 :])
            yield what, copy


def after(whole: bytes, landmarks: Sequence[bytes]) -> int | None:
    """Where the last of the landmarks ends, each looked for behind the one before."""
    place = 0
    for landmark in landmarks:
        found = whole.find(landmark, place)
        if found < 0:
            return None
        place = found + len(landmark)
    return place


def other(byte: int) -> bytes:
    """Another byte of the same kind: a digit for a digit, a letter for a letter."""
    if chr(byte).isdigit():
        return b"%d" % ((byte - ord("0") + 1) % 10)
    return b"B" if byte != ord("B") else b"C"
