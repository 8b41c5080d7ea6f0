"""Cutting ordered rows into row groups: lengths, quadrants, bytes, and no influence of how rows come in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.geoparquet import staged
from d4c_pipeline.geoparquet.groups import FEATURE_BYTES, groups
from d4c_pipeline.geoparquet.merge import Sorted
from d4c_pipeline.geoparquet.rows import Rows

Places = npt.NDArray[np.int64]


def parts(places: Places, length: int, pieces: int = 1) -> Iterator[Sorted]:
    """Rows with geometry of `length` bytes each at `places`, in so many parts."""
    wkb = pa.array([b"\0" * length] * len(places), pa.binary())
    rows = Rows({staged.PLACE: pa.array(places), staged.GEOMETRY: wkb}, len(places))
    for some in np.array_split(np.arange(len(places)), pieces):
        if len(some):
            yield Sorted(rows, some)


def lengths(places: Places, length: int = 1, pieces: int = 1) -> list[int]:
    """How many rows each group has; all of them are there, in order."""
    cut = [
        np.concatenate([piece.positions for piece in group])
        for group in groups(parts(places, length, pieces), len(places), features=True)
    ]
    assert np.concatenate(cut).tolist() == list(range(len(places)))
    return [len(group) for group in cut]


def test_few_rows_are_one_group() -> None:
    assert lengths(np.arange(19_999)) == [19_999]


def test_a_group_ends_where_the_curve_leaves_the_biggest_quadrant() -> None:
    places = np.concatenate([np.arange(12_345), (1 << 40) + np.arange(20_000)])
    # The first is cut at the jump, which leaves 2,345 rows to spare for the others.
    assert lengths(places)[0] == 12_345


def test_the_average_is_never_below_ten_thousand() -> None:
    random = np.random.default_rng(1)
    for rows in (20_000, 24_999, 25_001, 100_001, 333_333):
        found = lengths(np.sort(random.integers(0, 1 << 48, rows)))
        assert len(found) <= rows // 10_000, (rows, found)
        assert max(found) < 20_000
        assert min(found) >= 5_000, (rows, found)


def test_big_features_are_cut_by_bytes() -> None:
    assert lengths(np.arange(100), FEATURE_BYTES // 8) == [8] * 12 + [4]
    assert lengths(np.arange(3), FEATURE_BYTES + 1) == [1, 1, 1]


@settings(max_examples=20)
@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 60_000),
    pieces=st.integers(1, 40),
    length=st.sampled_from([1, 400, 900]),
)
def test_parts_make_no_difference(seed: int, rows: int, pieces: int, length: int) -> None:
    places = np.sort(np.random.default_rng(seed).integers(0, 1 << 48, rows))
    assert lengths(places, length, pieces) == lengths(places, length)


def test_rows_of_a_table_fall_into_equal_groups() -> None:
    rows = Rows({"a": pa.array(np.arange(250_000))}, 250_000)
    split = [Sorted(rows, some) for some in np.array_split(np.arange(250_000), 7)]
    cut = list(groups(split, 250_000, features=False))
    assert [sum(len(piece.positions) for piece in group) for group in cut] == [100_000, 100_000, 50_000]
