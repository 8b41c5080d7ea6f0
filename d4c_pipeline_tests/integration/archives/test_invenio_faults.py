"""The fault matrix against the fake InvenioRDM: calls broken in every way, processes killed, two workers at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline_tests.fakes import matrix
from d4c_pipeline_tests.fakes.faults import Fault, Kind
from d4c_pipeline_tests.fakes.invenio import FakeInvenio

ALL = os.environ.get("D4C_TEST_FAULTS") == "all"
"""Whether the whole matrix is tried; by default a diagonal of it, and a kill at every call."""

Starts = tuple[matrix.Start, matrix.Start]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starts]:
    with FakeInvenio() as fake:
        yield matrix.starts(tmp_path_factory.mktemp("starts"), fake)


def test_the_matrix_follows_what_a_deposit_does(starts: Starts) -> None:
    first, later = starts
    assert len(first.calls) >= 20
    assert first.calls.count("POST /records") == 1
    assert first.calls.count("POST /records/{id}/draft/actions/publish") == 1
    assert later.calls.count("POST /records/{id}/draft/actions/files-import") == 1
    # Two clients and two kinds of persistence for each kind of fault but the kills.
    assert len(list(matrix.cases(first))) == len(first.calls) * (3 * 11 + 2)


@pytest.mark.parametrize("scenario", [0, 1], ids=["first version", "later version"])
def test_any_fault_at_any_call_leads_to_one_record(starts: Starts, tmp_path: Path, scenario: int) -> None:
    tried = [(case, matrix.try_case(case, tmp_path)) for case in matrix.cases(starts[scenario], every=1 if ALL else 7)]

    assert {case.fault.at for case, _ in tried} == set(range(len(starts[scenario].calls)))
    assert {case.fault.kind for case, _ in tried} == set(Kind)
    assert {case.name: wrong for case, wrong in tried if wrong is not None} == {}


@pytest.mark.parametrize("scenario", [0, 1], ids=["first version", "later version"])
def test_kill_nine_around_any_call_leads_to_one_record(starts: Starts, tmp_path: Path, scenario: int) -> None:
    start = starts[scenario]
    kinds = (Kind.KILLED_AFTER, Kind.KILLED_BEFORE)
    wrong = {}
    for at in range(len(start.calls)):
        case = matrix.Case(start, Fault(kinds[at % 2], at), persistent=False)
        if (found := matrix.try_case(case, tmp_path)) is not None:
            wrong[case.name] = found
    assert wrong == {}


@pytest.mark.parametrize("scenario", [0, 1], ids=["first version", "later version"])
def test_two_processes_at_once_make_one_record(
    starts: Starts, tmp_path: Path, scenario: int, in_children: Callable[..., Any]
) -> None:
    start = starts[scenario]
    fake = start.home.fake
    for number in range(3):
        fake.restore(start.state)
        fake.begin()
        place = start.home.copy(tmp_path / str(number))
        one, other = in_children([partial(_doi, place, start.release)] * 2)
        assert one == other
        place.check_published_once(*start.before, start.release)
        place.close()
        assert fake.state.drafts() == []
        for unsafe in ("POST /records", "POST /records/{id}/draft/actions/publish"):
            assert fake.calls.count(unsafe) == start.calls.count(unsafe)


def _doi(place: Any, release: Any) -> str:
    return place.publish(release).doi
