"""Work in several processes: results, errors, and a process that dies."""

from __future__ import annotations

import os

import pytest

from d4c_pipeline.chain.portal_processes import in_processes
from d4c_pipeline.model.errors import StorageError, TransientError

_begun: list[int] = []


def begin(number: int) -> None:
    _begun.append(number)


def work(item: int) -> tuple[int, int]:
    if item == -1:
        raise StorageError("The disk is full", "Free some space")
    if item == -2:
        os._exit(9)
    return item * _begun[0], os.getpid()


def test_each_item_is_worked_on_once_in_other_processes() -> None:
    found = list(in_processes(work, [1, 2, 3], 2, lambda: None, (begin, (10,))))
    assert sorted(value for value, _ in found) == [10, 20, 30]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(
    ("item", "error", "cause"), [(-1, StorageError, "The disk is full"), (-2, TransientError, "One of 2 processes")]
)
def test_an_error_keeps_its_type_and_a_death_is_explained(item: int, error: type[Exception], cause: str) -> None:
    with pytest.raises(error, match=cause):
        list(in_processes(work, [item], 2, lambda: None, (begin, (1,))))
