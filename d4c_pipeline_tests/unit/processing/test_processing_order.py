"""The order of rows: a true Hilbert curve, and a total order whatever order rows come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.processing import order


def boxes(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, points])


def test_the_curve_visits_each_cell_once_and_steps_to_a_neighbour() -> None:
    side = 32
    cell = np.array([360 / side, 180 / side])
    grid = np.array([(x, y) for x in range(side) for y in range(side)])
    index = order.hilbert(boxes((grid + 0.5) * cell - (180, 90)))
    assert len(set(index.tolist())) == side * side
    path = grid[np.argsort(index)]
    assert (np.abs(np.diff(path, axis=0)).sum(axis=1) == 1).all()
    assert path[0].tolist() == [0, 0]


def test_rows_without_geometry_come_last_and_the_corners_of_the_world_are_in_it() -> None:
    index = order.hilbert(np.array([[np.nan] * 4, [180, 90, 180, 90], [-180, -90, -180, -90]]))
    assert index[0] == np.iinfo(np.uint64).max
    assert index[2] == 0
    assert index[1] < 1 << (2 * order.HILBERT_BITS)


def test_bits_suffice_to_tell_neighbours_three_metres_apart() -> None:
    index = order.hilbert(boxes(np.array([[-75.0, 45.0], [-75.0, 45.00003]])))
    assert index[0] != index[1]


values = st.tuples(
    st.integers(0, 3),
    st.one_of(st.none(), st.sampled_from(["", "a", "é"])),
    st.sampled_from([0.0, -0.0, 1.5, float("nan")]),
    st.one_of(st.none(), st.lists(st.integers(0, 1), max_size=2)),
)


@given(st.lists(values, min_size=1, max_size=12), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_input_gives_the_same_order_of_rows(
    rows: list[tuple[int, str | None, float, list[int] | None]], random: object, by_key: bool
) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def ordered(rows: list[tuple[int, str | None, float, list[int] | None]]) -> tuple[bytes, int]:
        place, text, number, nested = (list(values) for values in zip(*rows, strict=True))
        table = pa.table(
            {
                "place": place,
                "text": pa.array(text, pa.string()),
                "number": number,
                "nested": pa.array(nested, pa.list_(pa.int8())),
            }
        )
        result = order.by_key(table, ["place"]) if by_key else order.by_place(table, np.array(place, np.uint64), [])
        assert sorted(result.rows.tolist()) == list(range(len(rows)))
        bits = [np.float64(number[row]).tobytes() for row in result.rows]
        return repr(
            [(rows[row][0], rows[row][1], bits[n], rows[row][3]) for n, row in enumerate(result.rows)]
        ).encode(), result.duplicates

    assert ordered(rows) == ordered(shuffled)


def test_duplicates_are_rows_that_equal_another_in_every_column() -> None:
    table = pa.table({"k": ["a", "a", "a", "b"], "v": [1, None, 1, None]})
    result = order.by_key(table, ["k"])
    assert result.duplicates == 1
    assert table.take(pa.array(result.rows)).to_pydict() == {"k": ["a", "a", "a", "b"], "v": [1, 1, None, None]}


def test_without_a_key_all_columns_decide() -> None:
    table = pa.table({"a": [2, 1, 1], "b": ["x", None, "y"]})
    assert order.by_key(table, []).rows.tolist() == [2, 1, 0]
