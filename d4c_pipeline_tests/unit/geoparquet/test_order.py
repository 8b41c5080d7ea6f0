"""The order of rows: a true Hilbert curve, and a total order whatever order rows come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.geometry import hilbert
from d4c_pipeline.geoparquet import merge, order, rows

WORLD = (-180.0, -90.0, 180.0, 90.0)


def boxes(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, points])


def test_the_curve_visits_each_cell_once_and_steps_to_a_neighbour() -> None:
    side = 32
    cell = np.array([360 / side, 180 / side])
    grid = np.array([(x, y) for x in range(side) for y in range(side)])
    index = hilbert.places(boxes((grid + 0.5) * cell - (180, 90)), WORLD)
    assert len(set(index.tolist())) == side * side
    path = grid[np.argsort(index)]
    assert (np.abs(np.diff(path, axis=0)).sum(axis=1) == 1).all()
    assert path[0].tolist() == [0, 0]


def test_rows_without_geometry_come_last_and_the_corners_of_the_world_are_in_it() -> None:
    index = hilbert.places(np.array([[np.nan] * 4, [180, 90, 180, 90], [-180, -90, -180, -90]], float), WORLD)
    assert index[0] == hilbert.NOWHERE > index[1]
    assert index[2] == 0
    assert index[1] < 1 << (2 * hilbert.BITS)


def test_bits_suffice_to_tell_neighbours_three_metres_apart() -> None:
    index = hilbert.places(boxes(np.array([[-75.0, 45.0], [-75.0, 45.00003]])), WORLD)
    assert index[0] != index[1]


values = st.tuples(
    st.integers(0, 3),
    st.one_of(st.none(), st.sampled_from(["", "a", "é"])),
    st.sampled_from([0.0, -0.0, 1.5, float("nan")]),
    st.one_of(st.none(), st.lists(st.integers(0, 1), max_size=2)),
)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_order_of_input_gives_the_same_order_of_rows(
    values: list[tuple[int, str | None, float, list[int] | None]], random: object
) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def ordered(values: list[tuple[int, str | None, float, list[int] | None]]) -> tuple[bytes, int]:
        place, text, number, nested = (list(column) for column in zip(*values, strict=True))
        batch = pa.record_batch({
            "place": place,
            "text": pa.array(text, pa.string()),
            "number": number,
            "nested": pa.array(nested, pa.list_(pa.int8())),
        })  # fmt: skip
        result = order.total(rows.gather([batch]), batch.schema.names)
        assert sorted(result.positions.tolist()) == list(range(len(values)))
        assert [values[row][0] for row in result.positions] == sorted(place)
        bits = [np.float64(number[row]).tobytes() for row in result.positions]
        return repr(
            [(values[row][0], values[row][1], bits[n], values[row][3]) for n, row in enumerate(result.positions)]
        ).encode(), result.duplicates

    assert ordered(values) == ordered(shuffled)


def test_duplicates_are_rows_that_equal_another_in_every_column() -> None:
    batch = pa.record_batch({"k": ["a", "a", "a", "b"], "v": [1, None, 1, None]})
    result = order.total(rows.gather([batch]), ["k", "v"])
    assert result.duplicates == 1
    assert batch.take(pa.array(result.positions)).to_pydict() == {"k": ["a", "a", "a", "b"], "v": [1, 1, None, None]}


def test_the_extremes_of_integers_and_null_are_told_apart() -> None:
    low, high = -(1 << 63), (1 << 63) - 1
    batch = pa.record_batch({"a": pa.array([None, high, low, 0]), "b": pa.array([1 << 63, None, 0, 1], pa.uint64())})
    assert order.total(rows.gather([batch]), ["a", "b"]).positions.tolist() == [2, 3, 1, 0]
    assert order.total(rows.gather([batch]), ["b", "a"]).positions.tolist() == [2, 3, 0, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["", "a", "b", "é", None]), st.binary(max_size=2)),
        min_size=1,
        max_size=200,
    ),
    st.integers(1, 40),
    st.sampled_from([1, 300, 3_000]),
)
def test_sorting_with_files_gives_what_sorting_in_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[int, str | None, bytes]], length: int, limit: int
) -> None:
    number, text, raw = (list(column) for column in zip(*values, strict=True))
    whole = pa.record_batch(
        {"n": pa.array(number, pa.int16()), "t": pa.array(text, pa.string()), "raw": pa.array(raw, pa.binary())}
    )
    batches = [whole.slice(start, length) for start in range(0, len(values), length)]
    # Some batches packed, some not: it must not show.
    coded = pa.DictionaryArray.from_arrays
    for n, batch in enumerate(batches[::2]):
        encoded = batch.column("t").dictionary_encode()
        packed = coded(encoded.indices.cast(pa.int8()), encoded.dictionary)
        batches[2 * n] = pa.RecordBatch.from_arrays(
            [batch.column("n"), packed, batch.column("raw")], names=["n", "t", "raw"]
        )
    folder = tmp_path_factory.mktemp("runs")

    def listed(parts: list[merge.Sorted]) -> list[tuple[object, ...]]:
        out: list[tuple[object, ...]] = []
        for part in parts:
            taken = [part.rows.take(name, part.positions) for name in ("n", "t", "raw")]
            columns = [c.as_array().to_pylist() if isinstance(c, rows.Coded) else c.to_pylist() for c in taken]
            out += zip(*columns, strict=True)
        return out

    noticed, noticed_here = merge.Sorting(), merge.Sorting()
    on_disk = listed(list(merge.on_disk(iter(batches), ["n", "t", "raw"], noticed, folder=folder, limit=limit)))
    in_memory = listed(list(merge.in_memory(iter(batches), ["n", "t", "raw"], noticed_here)))
    expected = sorted(values, key=lambda row: (row[0], row[1] is None, (row[1] or "").encode(), row[2]))
    assert on_disk == in_memory == expected
    assert noticed == noticed_here == merge.Sorting(len(values) - len(set(values)))
    assert list(folder.iterdir()) == []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["b", "a", None]), st.sampled_from(["x", None, "y", "é"]), st.integers(-2, 2)),
        min_size=1,
        max_size=30,
    )
)
def test_texts_ordered_together_come_as_one_after_the_other(keys: list[tuple[str | None, str | None, int]]) -> None:
    first, second, third = (list(column) for column in zip(*keys, strict=True))
    batch = pa.RecordBatch.from_arrays(
        [pa.array(first).dictionary_encode(), pa.array(second).dictionary_encode(), pa.array(third)],
        names=["first", "second", "third"],
    )
    if pa.types.is_null(batch.column(0).type.value_type) or pa.types.is_null(batch.column(1).type.value_type):
        return
    done = order.total(rows.gather([batch]), ["first", "second", "third"])
    found = [keys[position] for position in done.positions]
    assert found == sorted(
        keys, key=lambda key: ((key[0] is None, key[0] or ""), (key[1] is None, key[1] or ""), key[2])
    )
    assert done.duplicates == len(keys) - len(set(keys))


def test_a_place_on_the_curve_is_what_its_definition_gives() -> None:
    # Bit by bit, as the curve is defined, for cells all over the box.
    random = np.random.default_rng(1)
    side = 1 << hilbert.BITS
    cells = random.integers(0, side, (500, 2))
    expected: list[int] = []
    for cell in cells.tolist():
        x, y = cell
        index = 0
        for bit in range(hilbert.BITS - 1, -1, -1):
            x_high, y_high = (x >> bit) & 1, (y >> bit) & 1
            index += (1 << 2 * bit) * ((3 * x_high) ^ y_high)
            if not y_high:
                if x_high:
                    x, y = side - 1 - x, side - 1 - y
                x, y = y, x
        expected.append(index)
    box = (0.0, 0.0, float(side), float(side))
    assert hilbert.places(boxes(cells + 0.5), box).tolist() == expected


def test_big_values_are_fetched_from_where_they_lie() -> None:
    wkb = [bytes([number]) * (5_000 + number) for number in range(7)] + [None]
    batches = [pa.record_batch({"shape": pa.array(some, pa.binary())}) for some in (wkb[:3], wkb[3:4], [], wkb[4:])]
    held = rows.gather(batches)
    assert isinstance(held.columns["shape"], pa.ChunkedArray)
    for positions in ([6, 0, 7, 3, 0, 2], [5], []):
        taken = held.take("shape", np.array(positions, np.int64))
        assert not isinstance(taken, rows.Coded)
        assert taken.to_pylist() == [wkb[at] for at in positions]
