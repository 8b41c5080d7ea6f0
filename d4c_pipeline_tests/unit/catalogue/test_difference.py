"""The difference of two catalogues: added, removed and changed releases, with values before and after."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.catalogue.difference import ChangedRelease, difference
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.model.errors import DataError
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, published


@pytest.fixture
def before(tmp_path: Path) -> Path:
    path = tmp_path / "before.parquet"
    write_catalogue([published(PROVINCES, "2021", "0.9.0"), published(RATES, "2025-06-04", "1.0.0")], path)
    return path


def test_a_successor_is_added_and_changes_its_predecessor(before: Path, tmp_path: Path) -> None:
    after = tmp_path / "after.parquet"
    items = [
        published(PROVINCES, "2021", "0.9.0", after="0.10.0"),
        published(PROVINCES, "2021", "0.10.0", previous="0.9.0"),
    ]
    write_catalogue(items, after)
    found = difference(str(before), str(after))
    assert [(each.change, each.dataset, each.version) for each in found.releases] == [
        ("removed", "exchange_rates", "1.0.0"),
        ("changed", "provinces", "0.9.0"),
        ("added", "provinces", "0.10.0"),  # the order of versions, not of texts
    ]
    changed = found.releases[1].columns
    assert changed["is_latest"] == (True, False)
    assert changed["deprecated"] == (False, True)
    assert {"doi", "rows", "geometry", "assets", "title"}.isdisjoint(changed)
    assert (found.columns_added, found.columns_removed) == ((), ())
    assert [each.version for each in found.of("added")] == ["0.10.0"]


def test_equal_catalogues_have_no_difference(before: Path) -> None:
    assert difference(str(before), str(before)).releases == ()


def test_columns_of_other_forms_are_named_and_compared_as_json(before: Path, tmp_path: Path) -> None:
    table = pq.read_table(before)
    index = table.schema.get_field_index("rows")
    table = table.set_column(index, "rows", table["rows"].cast(pa.int32())).drop_columns(["magnet"])
    nan = pa.array([float("nan"), 1.0])
    pq.write_table(table.append_column("it's new", nan), tmp_path / "after.parquet")
    found = difference(str(before), str(tmp_path / "after.parquet"))
    assert found.releases == ()
    assert (found.columns_added, found.columns_removed) == (("it's new",), ("magnet",))
    again = table.append_column("it's new", pa.array([1.0, 1.0]))
    pq.write_table(again, tmp_path / "again.parquet")
    (changed,) = difference(str(tmp_path / "after.parquet"), str(tmp_path / "again.parquet")).releases
    assert changed == ChangedRelease("changed", "exchange_rates", "2025-06-04", "1.0.0", {"it's new": (None, 1.0)})


def test_another_file_is_refused(before: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="is not a catalogue: it has no column dataset, vintage, version"):
        difference(str(before), str(tmp_path / "other.parquet"))
