"""Dying anywhere: crashes before and after every call, kill -9 at every line, another worker at every moment.

The cases are generated from what a deposit really does, not picked by hand; after each, a plain run again has to end
in exactly one published record per release with exactly its files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import sqlalchemy

import d4c_pipeline.archives
from d4c_pipeline.archives import deposit
from d4c_pipeline.ledger import schema
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.release import Release
from d4c_pipeline_tests.fakes.children import in_child

ROOM = str(Path(d4c_pipeline.archives.__file__).parent)
ALL = os.environ.get("D4C_TEST_FAULTS") == "all"
"""Whether every generated case is tried; by default each crash is, and of the longer scenarios every few."""

Start = tuple[Any, tuple[Release, ...], Release]


@pytest.fixture(params=["first version", "later version"])
def start(request: pytest.FixtureRequest) -> Start:
    """A home to copy, what is published in it, and the release that is to be."""
    if request.param == "first version":
        home, release = request.getfixturevalue("planned_home")
        return home, (), release
    home, first, second = request.getfixturevalue("second_home")
    return home, (first,), second


def _calls_of(start: Start, folder: Path, clock: Callable[..., Any]) -> list[str]:
    counted = clock()
    home, _, release = start
    _publish(home.copy(folder), release, counted)
    return counted.labels


def _publish(home: Any, release: Release, counted: Any) -> None:
    with closing(home.ledger()) as ledger:
        home.publish(release, ledger=counted.wrap_ledger(ledger), archive=counted.wrap(home.archive()))


def test_a_crash_around_any_call_leads_to_one_record(
    start: Start, tmp_path: Path, clock: Callable[..., Any], crash: type[BaseException]
) -> None:
    home, before, release = start
    labels = _calls_of(start, tmp_path / "counted", clock)
    assert len(labels) >= 36  # upload twice, publish, read, six steps in the ledger ...: before and after each
    assert {"before publish", "after publish", "before advance", "after upload"} <= set(labels)
    for at, label in enumerate(labels):
        place = home.copy(tmp_path / str(at))
        with pytest.raises(crash, match=label):
            _publish(place, release, clock(at=at))
        place.publish(release)
        place.check_published_once(*before, release)
        assert place.archive().find_drafts(release.identifier) == ()


def test_two_crashes_in_a_row_lead_to_one_record(
    start: Start, tmp_path: Path, clock: Callable[..., Any], crash: type[BaseException]
) -> None:
    home, before, release = start
    labels = _calls_of(start, tmp_path / "counted", clock)
    for at in range(0, len(labels), 1 if ALL else 11):
        place = home.copy(tmp_path / str(at))
        for moment in (at, 7 * at % len(labels)):
            with suppress(crash):
                _publish(place, release, clock(at=moment))
        place.publish(release)
        place.check_published_once(*before, release)


def test_another_worker_at_any_moment_leads_to_one_record(
    start: Start, tmp_path: Path, clock: Callable[..., Any], crash: type[BaseException]
) -> None:
    """A worker stalls, its lease expires, another works meanwhile (to its end, or crashes too), the first wakes up."""
    home, before, release = start
    labels = _calls_of(start, tmp_path / "counted", clock)
    for at in range(0, len(labels), 1 if ALL else 9):
        for other_dies_at in (None, 5 * at % len(labels)):
            place = home.copy(tmp_path / f"{at} {other_dies_at}")

            def meanwhile(place: Any = place, dies_at: int | None = other_dies_at) -> None:
                with closing(place.ledger()) as ledger:
                    with ledger._engine.begin() as connection:
                        connection.execute(sqlalchemy.delete(schema.lease))
                    with suppress(crash):
                        other = clock(at=dies_at)
                        place.publish(release, ledger=other.wrap_ledger(ledger), archive=other.wrap(place.archive()))

            with suppress(D4CError):  # the first may learn that it came too late
                _publish(place, release, clock(at=at, act=meanwhile))
            place.publish(release)
            place.check_published_once(*before, release)


def test_a_crash_while_abandoning_leaves_no_draft(
    planned_home: tuple[Any, Release], tmp_path: Path, clock: Callable[..., Any], crash: type[BaseException]
) -> None:
    home, release = planned_home
    at = 0
    while True:
        place = home.copy(tmp_path / str(at))
        with closing(place.ledger()) as ledger:
            deposit.reserve(ledger, place.archive(), release, place.metadata(release))
            counted = clock(at=at)
            with suppress(crash):
                deposit.abandon(counted.wrap_ledger(ledger), counted.wrap(place.archive()), release)
            deposit.abandon(ledger, place.archive(), release)
            ledger.releases.abandon(release, "overtaken")
        assert place.archive().find_drafts(release.identifier) == ()
        if counted.count <= at:
            break
        at += 1
    assert at >= 8


# Kill -9


def _trace(visit: Callable[[str, int], None]) -> None:
    """Call `visit` before every line of the room that runs from now on."""

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            visit(frame.f_code.co_filename, frame.f_lineno)
        return local

    def new_frame(frame: FrameType, _event: str, _argument: object) -> Any:
        return local if frame.f_code.co_filename.startswith(ROOM) else None

    sys.settrace(new_frame)


def _lines_of(start: Start, folder: Path, in_children: Callable[..., Any]) -> list[tuple[str, int]]:
    home, _, release = start
    place = home.copy(folder)

    def count() -> str:
        seen: dict[tuple[str, int], None] = {}
        _trace(lambda file, line: seen.setdefault((file, line)))
        place.publish(release)
        sys.settrace(None)
        return "\n".join(f"{file}\t{line}" for file, line in seen)

    (answer,) = in_children([count])
    return [(file, int(line)) for file, _, line in (row.partition("\t") for row in answer.splitlines())]


def test_kill_nine_at_any_line_leads_to_one_record(
    start: Start, tmp_path: Path, in_children: Callable[..., Any]
) -> None:
    home, before, release = start
    lines = _lines_of(start, tmp_path / "counted", in_children)
    assert len(lines) > 150
    for number, target in enumerate(lines[:: 1 if ALL else 14]):
        place = home.copy(tmp_path / str(number))

        def die(place: Any = place, target: tuple[str, int] = target) -> None:
            def visit(file: str, line: int) -> None:
                if (file, line) == target:
                    os.kill(os.getpid(), signal.SIGKILL)

            _trace(visit)
            place.publish(release)

        assert in_child(die) == -signal.SIGKILL, target
        place.publish(release)
        place.check_published_once(*before, release)
        assert place.archive().find_drafts(release.identifier) == ()
        assert [path.name for path in (place.folder / "archive" / "drafts").iterdir()] == []


def test_two_processes_that_publish_at_once_make_one_record(
    start: Start, tmp_path: Path, in_children: Callable[..., Any]
) -> None:
    home, before, release = start
    for number in range(3):
        place = home.copy(tmp_path / str(number))
        first, second = in_children([partial(_doi_of, place, release)] * 2)
        assert first == second
        place.check_published_once(*before, release)


def _doi_of(place: Any, release: Release) -> str:
    return place.publish(release).doi
