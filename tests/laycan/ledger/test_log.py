"""A log against a plain list and the recursive definition of its tree, through every sequence of what can be done to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from laycan.ledger.log import Checkpoint, ContentConflictError, Entry, Log, Logged, origin_of
from laycan.ledger.sqlite import SqliteLog, create_log, open_log, path_of
from laycan_verify.merkle import extends, includes, leaf_hash
from tests.laycan_verify.recursive import recursive_path, recursive_proof, recursive_root


class AnyHistory(RuleBasedStateMachine):
    """Appends, repeats, conflicts, re-openings: after each step the log is the list, whose tree the recursive definition makes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.path = self.folder / "log.sqlite"
        self.log: Log = create_log(self.path, "op/local")
        self.model: list[Entry] = []
        self.parked: dict[int, str] = {}
        self.cursor = -1

    def teardown(self) -> None:
        assert self.log.verify() == []
        self.log.close()
        shutil.rmtree(self.folder)

    @rule(batch=st.lists(st.tuples(st.integers(0, 60), st.sampled_from([b"", b"one", b"two"])), max_size=9))
    def append(self, batch: list[tuple[int, bytes]]) -> None:
        """New ids are appended in order, known ones keep their index, and those with other bytes are named and change nothing."""
        entries = [Entry(f"u/{number}", body) for number, body in batch]
        expected, conflicts = {}, []
        for entry in entries:
            known = next((i for i, old in enumerate(self.model) if old.id == entry.id), None)
            if known is None:
                self.model.append(entry)
                expected[entry.id] = len(self.model) - 1
            elif self.model[known].body == entry.body:
                expected[entry.id] = known
            else:
                conflicts.append(entry.id)
        if conflicts:
            with pytest.raises(ContentConflictError) as caught:
                self.log.append(entries)
            assert (list(caught.value.ids), caught.value.indices) == (conflicts, expected)
        else:
            assert self.log.append(entries) == expected

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = open_log(self.path)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def prove(self, data: st.DataObject) -> None:
        """Proofs at any size are those of the recursive definition, and verify."""
        bodies = [entry.body for entry in self.model]
        new = data.draw(st.integers(1, len(bodies)))
        old = data.draw(st.integers(0, new))
        index = data.draw(st.integers(0, new - 1))
        head = recursive_root(bodies[:new])
        assert self.log.root(new) == head
        assert self.log.inclusion(index, new) == recursive_path(index, bodies[:new])
        assert includes(head, new, index, leaf_hash(bodies[index]), self.log.inclusion(index, new))
        assert self.log.consistency(old, new) == (recursive_proof(old, bodies[:new]) if old else [])
        assert extends(self.log.root(old), old, head, new, self.log.consistency(old, new))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), refused=st.booleans())
    def send(self, data: st.DataObject, refused: bool) -> None:
        self.cursor = data.draw(st.integers(-1, len(self.model) - 1))
        self.log.move_cursor(self.cursor)
        index = data.draw(st.integers(0, len(self.model) - 1))
        if refused:
            self.log.park(index, "422")
            self.parked[index] = "422"
        else:
            self.log.park(index, None)
            self.parked.pop(index, None)

    @invariant()
    def is_the_list(self) -> None:
        assert self.log.size == len(self.model)
        assert self.log.entries(-1, 1000) == [Logged(i, entry.id, entry.body) for i, entry in enumerate(self.model)]
        assert self.log.root() == recursive_root([entry.body for entry in self.model])
        assert (self.log.cursor, self.log.parked()) == (self.cursor, self.parked)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=40, stateful_step_count=25)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    made = create_log(tmp_path / "a" / "b" / "log.sqlite", "op/ns/ex")
    yield made
    made.close()


class TestEntries:
    def test_after_an_index(self, log: SqliteLog) -> None:
        """A receiver that has 411 gets 412 and on; one that names any other number gets all or nothing."""
        log.append([Entry(f"u/{i}", b"%d" % i) for i in range(500)])
        assert [entry.index for entry in log.entries(411, 3)] == [412, 413, 414]
        assert log.entries(499, 10) == log.entries(10**30, 10) == []
        assert log.entries(-(10**30), 1) == [Logged(0, "u/0", b"0")]

    def test_of_one_contract(self, log: SqliteLog) -> None:
        """The entries of an id's prefix come in the log's order, and no other contract's."""
        log.append([Entry(id_, b"x") for id_ in ("u/10", "v/1", "u/9", "u0/1", "u", "u/")])
        assert [(entry.index, entry.id) for entry in log.entries_of("u/")] == [(0, "u/10"), (2, "u/9"), (5, "u/")]
        assert (log.index_of("v/1"), log.index_of("v/2")) == (1, None)

    def test_a_conflict_loses_nothing_else(self, log: SqliteLog) -> None:
        """The error names the id and the log, and says where the rest of the batch is."""
        log.append([Entry("u/1", b"said")])
        with pytest.raises(ContentConflictError, match=r"op/ns/ex holds other bytes under the id u/1") as caught:
            log.append([Entry("u/2", b"x"), Entry("u/1", b"never said"), Entry("u/3", b"y")])
        assert caught.value.indices == {"u/2": 1, "u/3": 2}
        assert [entry.body for entry in log.entries(-1, 9)] == [b"said", b"x", b"y"]

    def test_nothing_beyond_the_log(self, log: SqliteLog) -> None:
        """Sizes and indices that the log never had are refused."""
        log.append([Entry("a", b""), Entry("b", b"")])
        for ask, *numbers in (
            (log.root, 3), (log.root, -1), (log.inclusion, 2), (log.inclusion, 0, 3), (log.inclusion, -1), (log.inclusion, 1, 1),
            (log.consistency, 3), (log.consistency, 2, 1), (log.consistency, -1), (log.move_cursor, 2), (log.move_cursor, -2),
            (log.keep_checkpoint, Checkpoint(3, "", False)),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="op/ns/ex"):
                ask(*numbers)


class TestReadings:
    def test_found_by_their_root(self, log: SqliteLog) -> None:
        """Readings come back byte for byte under their RFC 9162 root, also none at all; keeping them twice is keeping them once."""
        for lines in ([b'{"lot":0}', b'{"lot":1}', b""], [], [b""]):
            (root,) = log.keep_readings(lines)
            assert [root] * 2 == [recursive_root(lines), *log.keep_readings(lines)]
            assert log.readings(root) == lines
        assert log.readings(b"other") is None


class TestOpening:
    def test_a_lost_log_is_never_an_empty_one(self, tmp_path: Path) -> None:
        """Opening what is not there fails, and what is there is not created again."""
        with pytest.raises(Exception, match="there is no log at"):
            open_log(tmp_path / "log.sqlite")
        (tmp_path / "log.sqlite").touch()
        with pytest.raises(Exception, match="holds no log of version 1"):
            open_log(tmp_path / "log.sqlite")
        create_log(tmp_path / "log.sqlite", "op/local").close()
        with pytest.raises(Exception, match="holds a log already"):
            create_log(tmp_path / "log.sqlite", "op/local")

    def test_a_successor_begins_with_what_it_follows(self, tmp_path: Path) -> None:
        """A new origin and its first entry are there together."""
        log = create_log(tmp_path / "log.sqlite", "op/local/2", [Entry("op/local/2", b"follows op/local at 411")])
        assert (log.origin, log.size) == ("op/local/2", 1)

    def test_names(self, tmp_path: Path) -> None:
        assert origin_of("op.example", "market", "cme") == "op.example/market/cme"
        assert origin_of("op.example", "", "") == "op.example/local"
        assert origin_of("op.example", "market", "cme", 2) == "op.example/market/cme/2"
        assert path_of(tmp_path, "market", "cme") == tmp_path / "market" / "cme.sqlite"
        assert path_of(tmp_path, "", "") == tmp_path / "local.sqlite"
        for origin in ("", "a b", "a+b", "a\nb"):
            with pytest.raises(ValueError, match="cannot name a log"):
                create_log(tmp_path / "log.sqlite", origin)
