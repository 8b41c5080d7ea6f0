"""Limits on the rows and the size of a file, and the formats that declare them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.readers import bounded, registry
from d4c_pipeline.tables.native import Native

ROWS = 1_000_001


def native() -> Native:
    batch = pa.record_batch([pa.nulls(ROWS)], ["a"])
    return Native("a.gpkg", batch.schema, iter([batch]))


def test_more_rows_than_bytes_are_refused_if_the_format_declares_it() -> None:
    limits = Limits()
    assert sum(batch.num_rows for batch in bounded.within_limits(native(), 10, limits).batches) == ROWS
    with pytest.raises(DataError, match=r"a\.gpkg gives 1,000,001 rows, more than the file has bytes \(10\)"):
        list(bounded.within_limits(native(), 10, limits, rows_within_bytes=True).batches)
    kept = bounded.within_limits(native(), ROWS, limits, rows_within_bytes=True)
    assert sum(batch.num_rows for batch in kept.batches) == ROWS


def test_the_companions_of_a_shapefile_count_in_its_size(tmp_path: Path) -> None:
    for name, size in (("a[1].shp", 1), ("a[1].dbf", 20), ("b.dbf", 300)):
        (tmp_path / name).write_bytes(bytes(size))
    assert bounded.size_of(tmp_path / "a[1].shp", companions=True) == 21
    assert bounded.size_of(tmp_path / "a[1].shp", companions=False) == 1
    assert bounded.size_of(tmp_path, companions=False) == 321


def test_formats_declare_companions_and_rows_within_bytes(tmp_path: Path) -> None:
    forms = {name: registry.format_of(name, tmp_path / name) for name in ("a.shp", "a.gpkg", "a.fgb", "a.csv")}
    declared = {name: (form.companions, form.rows_within_bytes) for name, form in forms.items() if form is not None}
    assert declared == {
        "a.shp": (True, False),
        "a.gpkg": (False, True),
        "a.fgb": (False, False),
        "a.csv": (False, False),
    }
