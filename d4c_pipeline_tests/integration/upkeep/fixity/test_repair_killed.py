"""A repair that is killed at each of its durable acts: the next one ends right, and rot is never served again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from sqlalchemy import Engine, event

from d4c_pipeline.model.fixity import ExpectedCopy, FixityPolicy
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.children import in_child

# What Python's own audit tells of: the moments at which something appears under its name, or goes.
_ACTS = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"}
FILES = {"data.parquet": b"PAR1" * 400}


def repair_and_die(home: Path, fatal: int) -> int:
    """Repair; die right before durable act `fatal` (from 0). Returns how many there were, if it came to the end."""
    done = 0

    def act(name: str, _arguments: object = None) -> None:
        nonlocal done
        if name not in _ACTS:
            return
        if done == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    event.listen(Engine, "commit", lambda _connection: act("os.rename"))
    sys.addaudithook(act)
    with rot.deployment(home) as at:
        repair(at)
    return done


def stored(home: Path, copy: ExpectedCopy) -> bytes | None:
    path = rot.root_of(home, copy.place) / copy.address
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[tuple[Path, dict[ExpectedCopy, bytes | None]]]:
    """A home in which an audit found: a copy that rotted, and a native file of which nothing good is left."""
    home = tmp_path / "harmed"
    with rot.deployment(home) as at:
        rot.publish(at, "1.0.0", FILES)
        native = rot.retain(at, "native.zip", b"PK" * 90)
        copies = {(copy.place, copy.name): copy for copy in expected_copies(at) if copy.kind.is_stored}
        lost = [copies["mirror", "data.parquet"], copies["primary", native.name]]
        for copy, content in zip(lost, (b"\0" * 1600, b"PQ" * 90), strict=True):
            path = rot.path_of(at, copy)
            path.chmod(0o644)
            path.write_bytes(content)
        assert {look.copy for look in audit(at, FixityPolicy(), full=True).lost} == set(lost)
        yield home, {copy: stored(home, copy) for copy in lost}


def test_killed_at_each_act_the_next_repair_ends_right(
    tmp_path: Path, harmed: tuple[Path, dict[ExpectedCopy, bytes | None]]
) -> None:
    start, bad = harmed
    mendable, hopeless = bad
    counted = in_child(lambda: repair_and_die(copytree(start, tmp_path / "counted"), -1))
    assert 20 < counted < 200
    for fatal in range(counted):
        home = copytree(start, tmp_path / str(fatal))
        assert in_child(lambda home=home, fatal=fatal: repair_and_die(home, fatal)) == -signal.SIGKILL, fatal
        for copy, rotten in bad.items():
            right = FILES.get(copy.name)
            # Either untouched yet, or out of service, or whole; never something in between.
            assert stored(home, copy) in (rotten, None, right), (fatal, copy)
        gone = {copy for copy, rotten in bad.items() if stored(home, copy) != rotten}
        with rot.deployment(home) as at:
            outcomes = {one.copy: one.outcome for one in repair(at)}
            assert outcomes[hopeless] is Outcome.NO_GOOD_COPY, fatal
            assert set(outcomes.values()) <= {Outcome.NO_GOOD_COPY, Outcome.RESTORED, Outcome.INTACT}, fatal
            assert stored(home, mendable) == FILES["data.parquet"], fatal
            assert stored(home, hopeless) is None
            assert gone <= {copy for copy, rotten in bad.items() if stored(home, copy) != rotten}
            assert {look.copy for look in audit(at, FixityPolicy(), full=True).lost} == {hopeless}, fatal
            told = [event.kind for event in at.ledger.events.of("provinces") if event.kind.startswith("copy ")]
        # Both facts, whoever died in between: two were damaged and set aside once each, one is whole again.
        assert told.count("copy damaged") == 2, fatal
        assert told.count("copy quarantined") == 2, fatal
        assert told.count("copy restored") + told.count("copy intact again") == 1, (fatal, told)
        aside = sorted(path.read_bytes() for path in home.glob("store*/.quarantine/**/*") if path.is_file())
        assert aside == sorted(content for content in bad.values() if content is not None), fatal
        # What it may leave is a second name of what is in its place, until something is written beside it.
        assert all(part.stat().st_nlink == 2 for part in home.glob("store*/**/.*.part")), fatal
