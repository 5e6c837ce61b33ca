"""The kit as a process of its own, ended by SIGKILL: nothing that it acknowledged is gone, and nothing is there twice."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.examples.exchange.kit import ME, rows
from tests.examples.exchange.office import SECRET, Office, Post

ROOT = Path(__file__).parents[3]


class TestKilled:
    """A process of its own, ended by SIGKILL."""

    @pytest.fixture
    def start(self, tmp_path: Path, office: Office) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
        """Starts the kit; `die_at`: it kills itself after that many answers, when all is on the disk and nothing is said yet."""
        (tmp_path / "hmac.key").write_text(SECRET)
        (tmp_path / "trust.json").write_bytes(office.trust_file())
        pem = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True).stdout
        (tmp_path / "witness.pem").write_bytes(pem)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        started: list[subprocess.Popen[bytes]] = []

        def begin(die_at: int = 0) -> subprocess.Popen[bytes]:
            options = {
                "port": port, "ledger": tmp_path / "exchange.sqlite", "secret-file": tmp_path / "hmac.key", "origin": office.origin,
                "trust": tmp_path / "trust.json", "witness-key": tmp_path / "witness.pem", "witness-name": ME,
            }  # fmt: skip
            argv = [sys.executable, "-m", "tests.examples.exchange.dying", str(die_at), *(f"--{k}={v}" for k, v in options.items())]
            process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE)
            started.append(process)
            assert process.stdout is not None
            while b"listening" not in (line := process.stdout.readline()):
                assert line, "the kit did not start"
            threading.Thread(target=process.stdout.read, daemon=True).start()
            self.port = port
            return process

        yield begin
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def test_between_disk_and_answer(self, start: Callable[..., subprocess.Popen[bytes]], office: Office, tmp_path: Path) -> None:
        """The operator heard nothing and sends it again: known, acknowledged, kept once, and the answer says where to go on."""
        process = start(die_at=3)
        for _ in range(5):
            office.say("c1")
        with Post(self.port) as post:
            assert [post.event(office, index)[0] for index in (0, 1)] == [200, 200]
            with pytest.raises((OSError, http.client.HTTPException)):
                post.event(office, 2)
            assert process.wait(10) == -signal.SIGKILL
            start()
            assert [post.event(office, index) for index in (2, 3, 4)] == [(200, {"have": 2}), (200, {}), (200, {})]
            assert "cosignature" in post.heartbeat(office)[1]

    def test_at_any_moment(self, start: Callable[..., subprocess.Popen[bytes]], office: Office, tmp_path: Path) -> None:
        """Killed again and again while eight contracts are told at once: every event is there once, and nothing acknowledged is gone."""
        for index in range(400):
            office.say(f"c{index % 8}")
        acked: list[int] = []

        def tell(contract: int) -> None:
            with Post(self.port) as post:
                for index in range(contract, 400, 8):
                    while not heard(post, index):
                        time.sleep(0.02)

        def heard(post: Post, index: int) -> bool:
            try:
                if post.event(office, index)[0] == 200:
                    acked.append(index)
                    return True
            except (OSError, http.client.HTTPException):
                pass
            return False

        process = start()
        threads = [threading.Thread(target=tell, args=(contract,)) for contract in range(8)]
        for thread in threads:
            thread.start()
        rng = random.Random(7)
        for _ in range(4):
            enough = len(acked) + rng.randrange(20, 60)
            while len(acked) < enough and any(thread.is_alive() for thread in threads):
                time.sleep(0.005)
            process.kill()
            process.wait()
            process = start()
        for thread in threads:
            thread.join(60)
        assert sorted(acked) == list(range(400))
        with Post(self.port) as post:
            assert "cosignature" in post.heartbeat(office)[1]
        kept = "SELECT count(*), count(DISTINCT id), (SELECT count(*) FROM alarm) FROM event"
        assert rows(tmp_path / "exchange.sqlite", kept) == [(400, 400, 0)]
