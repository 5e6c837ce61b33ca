"""What a crash, a full disk, a second process and a damaged file do to a log."""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from laycan.ledger.log import Checkpoint, DamagedError, DiskFullError, Entry, InUseError, LedgerError
from laycan.ledger.sqlite import SqliteLog, create_log, open_log
from laycan_verify import merkle

BEFORE = [Entry(f"u/{i}", b"body %d " % i + b"x" * (37 * i % 300)) for i in range(20)]
ROOT_OF_READINGS = merkle.root([b"a", b"b"])
LAST = [Entry(f"u/{i}", b"last %d" % i * 100) for i in range(20, 23)]


def small_pages(path: Path) -> None:
    """Makes the file with pages of 512 bytes, so that every byte of a transaction can be tried."""
    made = sqlite3.connect(path)
    made.execute("PRAGMA page_size=512")
    made.execute("VACUUM")
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


def state(log: SqliteLog) -> tuple[int, bytes, list[str]]:
    return log.size, log.root(), [entry.id for entry in log.entries(-1, 1000)]


def checkpoint(log: SqliteLog, size: int) -> Checkpoint:
    return Checkpoint(size, f"op/local\n{size}\n{base64.b64encode(log.root(size)).decode()}\n\n", True)


def reference(folder: Path, entries: Sequence[Entry]) -> tuple[int, bytes, list[str]]:
    """The state of a log with these entries to which nothing ever happened."""
    folder.mkdir()
    log = create_log(folder / "log.sqlite", "op/local")
    log.append(entries)
    found = state(log)
    log.close()
    return found


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    """WAL with `synchronous=FULL`, which a file does not remember: SQLite then calls fsync in each commit."""
    create_log(path, "op/local").close()
    log = open_log(path)
    assert (log._database.one("PRAGMA journal_mode"), log._database.one("PRAGMA synchronous")) == ("wal", 2)
    log.close()


class TestTornTransaction:
    """A log with twenty entries, then a transaction of three that was torn somewhere."""

    @pytest.fixture
    def images(self, path: Path, tmp_path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The files' bytes, by suffix, before and after the last transaction, as a crash would leave them."""
        small_pages(path)
        log = create_log(path, "op/local")
        assert log._database.one("PRAGMA page_size") == 512
        log.append(BEFORE)

        def bytes_now() -> dict[str, bytes]:
            return {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}

        before = bytes_now()
        log.append(LAST)
        after = bytes_now()
        log.close()
        return before, after

    def check(self, folder: Path, image: dict[str, bytes], whole: bool, expected: tuple[object, object]) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{folder / 'log.sqlite'}{suffix}").unlink(missing_ok=True)
        for suffix, data in image.items():
            Path(f"{folder / 'log.sqlite'}{suffix}").write_bytes(data)
        log = open_log(folder / "log.sqlite")
        assert state(log) == expected[whole]
        assert log.append(LAST) == {entry.id: 20 + i for i, entry in enumerate(LAST)}
        assert state(log) == expected[True]
        log.close()

    def test_wal_cut_at_every_byte(self, images: tuple[dict[str, bytes], dict[str, bytes]], ram: Path) -> None:
        """It is there with its last byte and not at all before; appending again gives the same indices and the same root."""
        before, after = images
        expected = reference(ram / "a", BEFORE), reference(ram / "b", [*BEFORE, *LAST])
        first, end = len(before["-wal"]), len(after["-wal"])
        assert end - first > 2000
        for cut in range(first, end + 1):
            self.check(ram, {**after, "-wal": after["-wal"][:cut]}, cut == end, expected)

    def test_file_torn_while_the_wal_is_copied_into_it(
        self, images: tuple[dict[str, bytes], dict[str, bytes]], path: Path, ram: Path
    ) -> None:
        """Wherever the copying into the main file was cut off, by length or with old pages behind new ones, nothing is missing."""
        before, after = images
        expected = reference(ram / "a", BEFORE), reference(ram / "b", [*BEFORE, *LAST])
        old, new = before[""], path.read_bytes()  # closed: all is copied
        assert len(new) > len(old)
        for cut in range(0, len(new) + 1, 7):
            self.check(ram, {**after, "": new[:cut] + old[cut:]}, True, expected)


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A folder where writing costs nothing, for thousands of tries."""
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) / f"laycan-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


CHILD = """
import os, resource, signal, sys
from pathlib import Path
from laycan.ledger.log import Entry
from laycan.ledger.sqlite import create_log, open_log

path, first, point = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
log = open_log(path) if path.is_file() else create_log(path, "op/local")
if point.startswith("step"):  # dies after so many of SQLite's own steps
    left = [int(point[4:])]
    def step():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    log._database._connection.set_progress_handler(step, 10)
if point.startswith("byte"):  # dies in the write that reaches this length of the WAL: the bytes before it are written
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(point[4:]), -1))
print("ready", flush=True)
n = first
while True:
    batch = [Entry(f"u/{i}", b"body %d" % i) for i in range(n, n + 1 + n % 3)]
    indices = log.append(batch)
    os.write(1, "".join(f"{id} {index}\\n" for id, index in indices.items()).encode())
    n += len(batch)
"""


def killed(path: Path, first: int, point: str = "", after_lines: int = 1 << 30) -> dict[str, int]:
    """Runs the child until it dies of `point`, or is killed once it said so many lines: id -> index of what it was told to be kept."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, path, str(first), point], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    lines = [line for line, _ in zip(child.stdout, range(after_lines), strict=False)]
    child.kill()
    lines += child.stdout.readlines()  # what it still said before it died
    child.stdout.close()
    assert child.wait() in (-signal.SIGKILL, -signal.SIGXFSZ)
    return {name: int(index) for name, index in (line.decode().split() for line in lines)}


class TestKilled:
    """A process that appends and says what it was told is killed: all that it said is there."""

    def check(self, path: Path, told: dict[str, int]) -> int:
        """The log is whole, in order and sound, with everything that was told. Returns its size."""
        log = open_log(path)
        ids = [entry.id for entry in log.entries(-1, 1 << 20)]
        assert ids == [f"u/{i}" for i in range(log.size)]
        assert all(ids[index] == name for name, index in told.items())
        assert log.verify() == []
        log.close()
        return len(ids)

    def test_at_any_moment(self, path: Path) -> None:
        """Killed a dozen times at whatever it is doing, and each time it begins again with entries that it may have had already."""
        size, told, draw = 0, dict[str, int](), random.Random(2)
        for _ in range(12):
            told |= killed(path, max(0, size - 5), after_lines=draw.randrange(1, 40))
            size = self.check(path, told)

    @pytest.mark.parametrize("step", range(1, 80, 5))
    def test_between_the_steps_of_an_append(self, path: Path, step: int) -> None:
        """At each tenth of SQLite's own steps: what was not committed is not there."""
        create_log(path, "op/local").close()
        self.check(path, killed(path, 0, f"step{step}"))

    @pytest.mark.parametrize("byte", range(33_000, 60_000, 1_211))
    def test_in_the_middle_of_a_write(self, path: Path, byte: int) -> None:
        """With the WAL cut off at this length, by the system, while it was written."""
        create_log(path, "op/local").close()
        told = killed(path, 0, f"byte{byte}")
        assert Path(f"{path}-wal").stat().st_size == byte
        assert self.check(path, told) > 0


FULL = """
import resource, sys
from pathlib import Path
from laycan.ledger.log import DiskFullError, Entry
from laycan.ledger.sqlite import create_log

log = create_log(Path(sys.argv[1]), "op/local")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
n = 0
while True:
    batch = [Entry(f"u/{i}", b"x" * 700) for i in range(n, n + 5)]
    try:
        log.append(batch)
    except DiskFullError as error:
        assert "cannot grow, nothing was written" in str(error), error
        break
    n += 5
assert log.size == n == len(log.entries(-1, 10_000)) and log.verify() == []
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
assert log.append(batch) == {f"u/{i}": i for i in range(n, n + 5)}
assert log.verify() == []
log.close()
print(n)
"""


class TestFullDisk:
    @pytest.mark.parametrize("limit", [*range(110_000, 150_000, 4_111), 400_000])
    def test_files_that_cannot_grow(self, path: Path, limit: int) -> None:
        """A limit that is met in the middle of a write: a clear error, nothing half-written, and on it goes once there is room."""
        done = subprocess.run([sys.executable, "-c", FULL, path, str(limit)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert int(done.stdout) > 0
        log = open_log(path)
        assert (log.size, log.verify()) == (int(done.stdout) + 5, [])
        log.close()

    def test_no_page_left(self, path: Path) -> None:
        """At whichever page of an append the space ends, nothing of the append is there, and the log can still be read and proven."""
        log = create_log(path, "op/local")
        log.append(BEFORE)
        pages = log._database.one("PRAGMA page_count")
        large = [Entry(f"large/{i}", b"x" * 20_000) for i in range(3)]
        for more in range(8):
            log._database.rows(f"PRAGMA max_page_count = {pages + more}")
            with pytest.raises(DiskFullError, match=r"log\.sqlite cannot grow, nothing was written"):
                log.append(large)
            with pytest.raises(DiskFullError):
                log.keep_readings([os.urandom(100_000)])
            assert (log.size, len(log.inclusion(3)), log.verify()) == (20, 5, [])
        log._database.rows("PRAGMA max_page_count = 1000000")
        assert log.append(large) == {"large/0": 20, "large/1": 21, "large/2": 22}
        log.close()


READ = """
import sys
from pathlib import Path
from laycan.ledger.log import LedgerError
from laycan.ledger.sqlite import open_log

try:
    open_log(Path(sys.argv[1]))
except LedgerError as error:
    print(type(error).__name__, str(error))
log = open_log(Path(sys.argv[1]), read_only=True)
print(log.size)
"""


class TestTwoProcesses:
    def test_a_child_with_a_copy_of_the_lock_keeps_nobody_off(self, path: Path) -> None:
        """A process that is forked while a log is open has one until it starts its program; the log may be opened anew by then."""
        log, lock = create_log(path, "op/local"), Path(f"{path}.lock").resolve()
        (held,) = (int(found.name) for found in Path("/proc/self/fd").iterdir() if found.resolve() == lock)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[held]) as child:
            log.close()
            open_log(path).close()
            child.communicate(b"\n")

    def test_one_writes_and_any_number_read(self, path: Path) -> None:
        """A second writer is refused in a sentence that says why, in another process and in the same; a reader sees what is committed."""
        log = create_log(path, "op/local")
        log.append(BEFORE)
        done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
        assert done.stdout == f"InUseError {path} is being written by another process; a log has one writer, any number may read it\n20\n"
        with pytest.raises(InUseError):
            open_log(path)
        reader = open_log(path, read_only=True)
        log.append(LAST)
        assert state(reader) == state(log)
        log.close()
        assert (reader.size, reader.verify()) == (23, [])
        reader.close()

    def test_a_reader_sees_one_moment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Entries that are appended between the steps of an opening or of `verify` make no log look damaged."""
        log = create_log(path, "op/local")
        log.append(BEFORE)
        more, connect = iter(Entry(f"more/{i}", b"") for i in range(1 << 20)), sqlite3.connect

        def interrupted(*arguments: Any, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*arguments, **options)
            made.set_progress_handler(lambda: 0 * len(log.append([next(more)])), 10)
            return made

        monkeypatch.setattr(sqlite3, "connect", interrupted)
        for _ in range(3):
            reader = open_log(path, read_only=True)
            assert reader.verify() == []
            reader.close()
        assert log.size > 100
        log.close()

    def test_a_reader_writes_nothing(self, path: Path) -> None:
        create_log(path, "op/local").close()
        reader = open_log(path, read_only=True)
        with pytest.raises(LedgerError, match="attempt to write a readonly database"):
            reader.append(LAST)
        assert (reader.size, reader.entries(-1, 9)) == (0, [])
        reader.close()
        open_log(path).close()  # and it locked nobody out

    def test_one_thread(self, path: Path) -> None:
        """Another thread is refused rather than let in between the statements of a transaction."""
        log = create_log(path, "op/local")
        with ThreadPoolExecutor(1) as pool, pytest.raises(LedgerError, match="same thread"):
            pool.submit(log.append, LAST).result()
        assert log.size == 0
        log.close()


class TestDamage:
    @pytest.fixture
    def made(self, path: Path) -> Path:
        small_pages(path)
        log = create_log(path, "op/local")
        log.append(BEFORE)
        log.keep_readings([b"a", b"b"])
        log.keep_checkpoint(checkpoint(log, 7))
        log.keep_checkpoint(checkpoint(log, 9))
        log.close()
        return path

    def test_a_flipped_byte_of_a_body_is_named(self, made: Path) -> None:
        """Whichever byte of whichever body it is, `verify` names the entry and nothing else."""
        whole = made.read_bytes()
        for index in (0, 7, 19):
            start = whole.index(b"body %d " % index)
            for place in range(start, start + len(b"body %d " % index)):
                made.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
                log = open_log(made)
                assert log.verify() == [f"entry {index} (u/{index}): its body is not the one whose hash is in the tree"]
                log.close()

    def test_any_flipped_byte(self, made: Path, ram: Path) -> None:
        """Wherever it is, either it is found, or the log says word for word what it said before."""
        whole, file = made.read_bytes(), ram / "log.sqlite"
        log = open_log(made)
        expected = state(log), log.entries(-1, 99), log.inclusion(3), log.readings(ROOT_OF_READINGS)
        log.close()
        draw, found = random.Random(2), 0
        for place in range(0, len(whole), 5):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
            try:
                log = open_log(file)
            except LedgerError:
                found += 1
                continue
            if log.verify():
                found += 1
            else:
                assert (state(log), log.entries(-1, 99), log.inclusion(3), log.readings(ROOT_OF_READINGS)) == expected
            log.close()
        assert found > 1000

    def test_hashes_checkpoints_and_readings(self, path: Path) -> None:
        """A changed hash, checkpoint or reading is named as what it is; a log that is shorter than its checkpoint does not open."""
        log = create_log(path, "op/local")
        log.append(BEFORE)
        log.keep_checkpoint(checkpoint(log, 5))
        log.keep_checkpoint(checkpoint(log, 9))
        (root,) = log.keep_readings([b"a"])
        with log._database.transaction():
            log._database.rows("UPDATE checkpoint SET note = replace(note, char(10) || '5', char(10) || '6') WHERE size = 5")
            log._database.rows("UPDATE reading SET lines = x'00'")
            log._database.rows("UPDATE node SET hash = zeroblob(32) WHERE position = 2")  # over entries 0 and 1
        assert log.verify() == [
            "the hash over entries 0 to 1 is not that of the two below it",
            "the hash over entries 0 to 3 is not that of the two below it",
            "the checkpoint of 5 entries has another root than the log",
            f"the readings with the root {root.hex()} have another root",
        ]
        with pytest.raises(DamagedError, match="cannot be unpacked"):
            log.readings(root)
        with log._database.transaction():
            log._database.rows("DELETE FROM entry WHERE place > 7")
            log._database.rows("DELETE FROM node WHERE position > 14")
        assert "entries are missing" not in str(log.verify())
        log.close()
        with pytest.raises(DamagedError, match="8 entries and a checkpoint of 9: entries are lost"):
            open_log(path)

    def test_missing_entries(self, path: Path) -> None:
        """Entries or hashes that are not there are said to be missing, and a proof that needs them is refused."""
        log = create_log(path, "op/local")
        log.append(BEFORE)
        with log._database.transaction():
            log._database.rows("DELETE FROM node WHERE position = 3")
        assert log.verify() == ["20 entries have 37 hashes in the tree and should have 38"]
        with pytest.raises(DamagedError, match="hashes of the tree are missing"):
            log.inclusion(3)
        with log._database.transaction():
            log._database.rows("DELETE FROM entry WHERE place = 4")
        assert log.verify() == ["19 entries have the indices 0 to 19: some are missing"]
        log.close()

    def test_no_database_at_all(self, path: Path) -> None:
        path.write_bytes(b"this is no database" * 100)
        with pytest.raises(DamagedError, match=r"log\.sqlite: file is not a database"):
            open_log(path)
