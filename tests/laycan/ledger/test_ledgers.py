"""All logs in one thread: opened once, opened anew after a failure, and never begun anew where one was lost."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from laycan.ledger.database import Database
from laycan.ledger.ledgers import LOCAL, Beginning, Ledgers, Place
from laycan.ledger.log import DamagedError, Entry, GoneError, InUseError, LedgerError, Log
from laycan.ledger.sqlite import create_log, open_log, path_of

GCX = Place("desk", "gcx")


def with_ledgers(folder: Path, test: Callable[[Ledgers], Awaitable[None]], beginning: Beginning | None = None) -> None:
    async def main() -> None:
        ledgers = Ledgers(folder, lambda place: beginning or Beginning(f"op/{place}"))
        await test(ledgers)
        await ledgers.close()

    asyncio.run(main())


def append(*ids: str) -> Callable[[Log], int]:
    def work(log: Log) -> int:
        log.append([Entry(each, b"{}") for each in ids])
        return log.size

    return work


def test_opened_when_asked_for(tmp_path: Path) -> None:
    """Nothing is made before that; each log is its own file, and all work is done in one thread."""
    threads = set()

    async def test(ledgers: Ledgers) -> None:
        assert {place for place in (GCX, LOCAL) if ledgers.has(place)} == set()
        await asyncio.gather(*(ledgers.use(place, append(f"u/{i}")) for i in range(20) for place in (GCX, LOCAL)))
        for place in (GCX, LOCAL):
            threads.add(await ledgers.use(place, lambda log: threading.get_ident()))
        assert ledgers.has(GCX)
        assert ledgers.sizes == {GCX: 20, LOCAL: 20}

    with_ledgers(tmp_path, test)
    assert len(threads - {threading.get_ident()}) == 1
    for place, origin in ((GCX, "op/desk/gcx"), (LOCAL, "op/local")):
        log = open_log(path_of(tmp_path, *place))
        assert (log.origin, log.size) == (origin, 20)
        log.close()


def test_one_after_the_other(tmp_path: Path) -> None:
    """What is asked for together is done in the order of asking, each whole."""
    done: list[int] = []

    async def test(ledgers: Ledgers) -> None:
        await asyncio.gather(*(ledgers.use(GCX, lambda log, i=i: done.append(i)) for i in range(50)))  # type: ignore[misc]

    with_ledgers(tmp_path, test)
    assert done == list(range(50))


def test_cancelled_work_is_done_to_its_end(tmp_path: Path) -> None:
    """Whoever is cancelled leaves no half work behind, and nobody else is harmed."""
    go = threading.Event()

    def slow(log: Log) -> None:
        go.wait(5)
        append("u/1")(log)

    async def test(ledgers: Ledgers) -> None:
        await ledgers.use(GCX, lambda log: None)
        task = asyncio.create_task(ledgers.use(GCX, slow))
        await asyncio.sleep(0.05)
        task.cancel()
        go.set()
        assert await ledgers.use(GCX, lambda log: log.size) == 1

    with_ledgers(tmp_path, test)


def test_a_failure_is_told_and_the_file_opened_anew(tmp_path: Path) -> None:
    """In use by another, then free: what is wrong stands there until it works."""
    rival = create_log(path_of(tmp_path, *GCX), "op/desk/gcx")

    async def test(ledgers: Ledgers) -> None:
        for _ in range(2):
            with pytest.raises(InUseError):
                await ledgers.use(GCX, append("u/1"))
        assert isinstance(ledgers.troubles[GCX], InUseError)
        assert await ledgers.use(LOCAL, append("u/1")) == 1
        rival.close()
        assert await ledgers.use(GCX, append("u/1")) == 1
        assert ledgers.troubles == {}

    with_ledgers(tmp_path, test)


def test_work_that_fails_with_the_log(tmp_path: Path) -> None:
    """A log that fails in use is closed, and opened by the next who asks; those who asked meanwhile are told to ask again."""

    def broken(log: Log) -> None:
        raise LedgerError("the volume is away")

    async def test(ledgers: Ledgers) -> None:
        await ledgers.use(GCX, append("u/1"))
        first = ledgers._logs[GCX]
        found = await asyncio.gather(ledgers.use(GCX, broken), ledgers.use(GCX, append("u/2")), return_exceptions=True)
        assert [type(each) for each in found] == [LedgerError, LedgerError]
        assert await ledgers.use(GCX, append("u/2")) == 2
        assert ledgers._logs[GCX] is not first

    with_ledgers(tmp_path, test)


def test_other_errors_are_whose_work_it_is(tmp_path: Path) -> None:
    """A mistake in the work is no failure of the log."""

    async def test(ledgers: Ledgers) -> None:
        with pytest.raises(ZeroDivisionError):
            await ledgers.use(GCX, lambda log: 1 // 0)
        assert ledgers.troubles == {}
        assert await ledgers.use(GCX, append("u/1")) == 1

    with_ledgers(tmp_path, test)


@pytest.mark.parametrize("left", [b"", None])
def test_a_log_whose_making_was_cut_short(tmp_path: Path, left: bytes | None) -> None:
    """Killed before the tables were there: an empty file, or one that SQLite has begun, is no log and no obstacle."""
    path = path_of(tmp_path, *GCX)
    path.parent.mkdir()
    if left is not None:
        path.write_bytes(left)
    else:
        Database(path, mode="rwc").close()

    async def test(ledgers: Ledgers) -> None:
        assert await ledgers.use(GCX, append("u/1")) == 1

    with_ledgers(tmp_path, test)


def test_what_is_no_log_is_not_overwritten(tmp_path: Path) -> None:
    """Whatever lies there is left as it is."""
    path = path_of(tmp_path, *GCX)
    path.parent.mkdir()
    path.write_bytes(b"somebody's notes, which are no database of anything\n" * 100)
    before = path.read_bytes()

    async def test(ledgers: Ledgers) -> None:
        with pytest.raises(DamagedError):
            await ledgers.use(GCX, append("u/1"))

    with_ledgers(tmp_path, test)
    assert path.read_bytes() == before


LOST = Beginning("op/desk/gcx/2", [Entry("log/2/1", b'{"replaces":"op/desk/gcx"}')], "op/desk/gcx", 2)


def test_a_lost_log_is_followed_by_another(tmp_path: Path) -> None:
    """The new one has another name, and says so first."""

    async def test(ledgers: Ledgers) -> None:
        assert await ledgers.use(GCX, append("u/9")) == 2

    with_ledgers(tmp_path, test, LOST)
    log = open_log(path_of(tmp_path, *GCX))
    assert (log.origin, [entry.id for entry in log.entries(-1, 9)]) == ("op/desk/gcx/2", ["log/2/1", "u/9"])
    log.close()


@pytest.mark.parametrize(("entries", "fits"), [(1, False), (2, True), (3, True)])
def test_an_older_state_of_a_log_is_not_gone_on_with(tmp_path: Path, entries: int, fits: bool) -> None:
    """Two were told of: a log of one was put back from a copy, and to go on with it would be to say two things at one place."""
    log = create_log(path_of(tmp_path, *GCX), "op/desk/gcx")
    append(*(f"u/{i}" for i in range(entries)))(log)
    log.close()

    async def test(ledgers: Ledgers) -> None:
        if fits:
            assert await ledgers.use(GCX, append("u/9")) == entries + 1
            return
        with pytest.raises(DamagedError, match="holds 1 entries, and 2 were told of"):
            await ledgers.use(GCX, append("u/9"))
        path_of(tmp_path, *GCX).rename(tmp_path / "old")
        assert await ledgers.use(GCX, append("u/9")) == 2

    with_ledgers(tmp_path, test, LOST)


@pytest.mark.parametrize("other", [False, True])
def test_a_log_that_goes_while_it_is_used(tmp_path: Path, other: bool) -> None:
    """A volume fails and comes back empty, or is another: how far its exchange is, is not known of a new log. A new process begins it."""

    async def test(ledgers: Ledgers) -> None:
        await ledgers.use(GCX, append("u/1", "u/2"))
        with pytest.raises(LedgerError, match="as with a disk"):
            await ledgers.use(GCX, fails)
        path_of(tmp_path, *GCX).unlink()
        if other:
            create_log(path_of(tmp_path, *GCX), "op/desk/else").close()
        for _ in range(2):
            with pytest.raises(GoneError, match="a moment ago"):
                await ledgers.use(GCX, append("u/3"))
        assert ledgers.has(GCX) is other

    with_ledgers(tmp_path, test)


def test_a_log_that_goes_back_while_it_is_used(tmp_path: Path) -> None:
    """Its disk gives an older state back, of which nobody outside knows yet that it is older."""

    async def test(ledgers: Ledgers) -> None:
        path = path_of(tmp_path, *GCX)
        await ledgers.use(GCX, append("u/1"))
        with pytest.raises(LedgerError):
            await ledgers.use(GCX, fails)
        older = path.read_bytes()
        await ledgers.use(GCX, append("u/2"))
        with pytest.raises(LedgerError):
            await ledgers.use(GCX, fails)
        path.write_bytes(older)
        with pytest.raises(DamagedError, match="holds 1 entries, and 2 were told of"):
            await ledgers.use(GCX, append("u/3"))

    with_ledgers(tmp_path, test)


def test_a_log_that_is_deleted_while_it_is_open(tmp_path: Path) -> None:
    """SQLite would go on with a file that nobody finds again: nothing is said to be on the disk that is in there."""

    async def test(ledgers: Ledgers) -> None:
        await ledgers.use(GCX, append("u/1"))
        path_of(tmp_path, *GCX).unlink()
        with pytest.raises(LedgerError, match="No such file"):
            await ledgers.use(GCX, append("u/2"))
        with pytest.raises(GoneError):
            await ledgers.use(GCX, append("u/2"))

    with_ledgers(tmp_path, test)


def test_a_copy_that_takes_its_place_is_gone_on_with(tmp_path: Path) -> None:
    """Where it has all that there was; what is said then stands in the file that is there."""

    async def test(ledgers: Ledgers) -> None:
        await ledgers.use(GCX, append("u/1"))
        path, copy = path_of(tmp_path, *GCX), tmp_path / "copy"
        with sqlite3.connect(path) as source:
            source.execute("VACUUM INTO ?", [str(copy)])
        copy.replace(path)
        for left in ("-wal", "-shm"):
            path.with_name(path.name + left).unlink()
        with pytest.raises(LedgerError, match="another file"):
            await ledgers.use(GCX, append("u/2"))
        assert await ledgers.use(GCX, append("u/2")) == 2

    with_ledgers(tmp_path, test)
    log = open_log(path_of(tmp_path, *GCX))
    assert (log.size, log.verify()) == (2, [])
    log.close()


def fails(log: Log) -> None:
    raise LedgerError("as with a disk")
