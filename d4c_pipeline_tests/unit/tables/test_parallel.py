"""Work in threads: results in order, waiting on access, errors in place of results."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from d4c_pipeline.tables.parallel import beside, coming, in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_their_items(threads: int) -> None:
    assert list(in_order(lambda number: number * number, range(50), threads)) == [n * n for n in range(50)]
    assert list(beside(lambda _: None, range(50), threads)) == list(range(50))
    found = coming(lambda name: name.upper(), ["b", "a", "c"], threads)
    assert list(found.items()) == [("b", "B"), ("a", "A"), ("c", "C")]
    assert len(found) == 3


def test_at_most_one_item_more_than_threads_is_in_progress() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    results = in_order(lambda number: number, items(), 3)
    assert [next(results), next(results)] == [0, 1]
    assert len(drawn) == 5
    results.close()
    assert len(drawn) == 5


def test_the_first_result_is_available_while_others_are_computed() -> None:
    go = threading.Event()

    def made(name: str) -> str:
        if name == "late":
            assert go.wait(20)
        return name

    found = coming(made, ["early", "late"], 2)
    assert found["early"] == "early"
    go.set()
    assert found["late"] == "late"


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_where_its_result_would_have(threads: int) -> None:
    def halved(number: int) -> float:
        if number == 3:
            raise ValueError("three")
        return number / 2

    results = in_order(halved, range(9), threads)
    assert [next(results) for _ in range(3)] == [0, 0.5, 1]
    with pytest.raises(ValueError, match="three"):
        next(results)
    with pytest.raises(ValueError, match="three"):
        coming(halved, [0, 3], threads)[3]
