"""One child process of the control plane: started with its own log, never left behind.

A test run or a demo may be killed at any moment, so each child asks the kernel to be killed when its parent dies. Linux ties that wish
to the *thread* that forked; all children are therefore forked by one thread that lives as long as this process does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import randbelow

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOWEST_PORT, HIGHEST_PORT = 10_240, 32_767  # below Linux's ephemeral range: no outgoing connection takes one between choice and use
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="controlplane-forker")
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Process:
    """A running child with a log file.

    `outlives_us` leaves it running after our end, for `python -m controlplane up`. Children get a session of their own: a Ctrl-C in the
    terminal reaches us only, and we stop them in order.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, *, outlives_us: bool = False) -> None:
        self.name, self.argv, self.log = name, tuple(argv), log
        parent = os.getpid()
        with log.open("ab") as out:
            self._child = _forker.submit(
                subprocess.Popen,
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if outlives_us else lambda: _die_with(parent),
            ).result()
        self.pid = self._child.pid

    def running(self) -> bool:
        """Whether the child has not exited yet."""
        return self._child.poll() is None

    def stop(self, patience_seconds: float) -> None:
        """Asks the child to end, kills it after its time, and returns when it is gone. Does nothing when it has ended already."""
        self._child.terminate()
        try:
            self._child.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash; returns when the child is gone."""
        self._child.kill()
        self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends any other signal, say SIGSTOP for a process that hangs."""
        self._child.send_signal(number)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log, for an error message."""
        return tail(self.log, lines)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a file, or nothing when there is no such file."""
    if not log.exists():
        return ""
    with log.open(errors="replace") as file:
        return "".join(deque(file, lines))


def is_ours(pid: int, mark: str) -> bool:
    """Whether a process runs that has `mark` in its command line: a process id alone may have been given to somebody else since."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a zombie
    except OSError:
        return False


def stop_stranger(pid: int, mark: str, patience_seconds: float) -> None:
    """Ends a process that is not our child (an earlier run of ours left it running), and waits for its exit."""
    deadline = time.monotonic() + patience_seconds
    number = signal.SIGTERM
    while is_ours(pid, mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while is_ours(pid, mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        number = signal.SIGKILL


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of 127.0.0.1 that nobody listens on now."""
    ports: set[int] = set()
    while len(ports) < count:
        port = LOWEST_PORT + randbelow(HIGHEST_PORT - LOWEST_PORT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.add(port)
    return list(ports)


def _die_with(parent: int) -> None:
    """Runs in the child before exec. SIGKILL: it reaches a stopped child as well, and what it serves has no user left."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the wish was made
            os._exit(1)
