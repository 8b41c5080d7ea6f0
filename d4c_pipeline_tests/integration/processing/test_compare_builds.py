"""The rules of versions, one by one, on pairs of real builds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.model.bumps import change_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.processing.compare import compare
from d4c_pipeline.processing.examples import changed_values

Declare = Callable[..., Dataset]
Make = Callable[..., Path]
ROWS = "id,name,pop\n10,St. John's,1\n24,Québec,2\n35,Toronto,3\n"


@pytest.fixture
def make(declare: Declare, tmp_path: Path) -> Make:
    """Build a table out of text and return its data artifact."""
    count = iter(range(100))

    def made(text: str = ROWS, **processing: object) -> Path:
        into = tmp_path / f"build{next(count)}"
        into.mkdir()
        (into / "rows.csv").write_text(text, "utf-8")
        options = {"kind": "table", "key": ["id"], **processing}
        return build(declare(**options), Vintage.parse("2021"), [into / "rows.csv"], into).data

    return made


def test_nothing_changed(make: Make) -> None:
    description = {"en": "Name", "fr": "Nom"}
    again = make(
        "pop,id,name\n3,35,Toronto\n1,10,St. John's\n2,24,Québec\n", columns={"name": {"description": description}}
    )
    change = change_of(compare(make(), again))
    assert (change.bump, change.reasons) == (Bump.NONE, ())


@pytest.mark.parametrize(
    ("text", "processing", "bump", "reasons"),
    [
        ("id,name\n10,St. John's\n24,Québec\n35,Toronto\n", {}, Bump.MAJOR, ("column pop removed",)),
        (ROWS, {"columns": {"population": {"source": "pop"}}}, Bump.MAJOR, ("column pop renamed to population",)),
        (
            ROWS,
            {"columns": {"pop": {"type": "integer"}}},
            Bump.MAJOR,
            ("type of column pop changed from int8 to int64",),
        ),
        (ROWS, {"key": ["id", "name"]}, Bump.MAJOR, ("key columns changed from id to id, name",)),
        (
            "id,name,pop,area\n10,St. John's,1,9\n24,Québec,2,9\n35,Toronto,3,9\n",
            {},
            Bump.MINOR,
            ("column area added",),
        ),
        (f"{ROWS}59,Victoria,4\n61,Yellowknife,5\n", {}, Bump.MINOR, ("2 rows added, e.g. key 59",)),
        (ROWS.replace("Québec", "Quebec"), {}, Bump.PATCH, ("1 value of name changed, e.g. key 24",)),
        (ROWS.replace(",2", ",").replace(",3", ",4"), {}, Bump.PATCH, ("2 values of pop changed, e.g. key 24",)),
        ("id,name,pop\n10,St. John's,1\n24,Québec,2\n", {}, Bump.PATCH, ("1 row removed, e.g. key 35",)),
        (
            ROWS.replace("35,", "36,"),
            {},
            Bump.PATCH,
            ("1 row removed, e.g. key 35", "1 row added, e.g. key 36"),
        ),
    ],
)
def test_rules_by_key(
    make: Make, text: str, processing: dict[str, object], bump: Bump, reasons: tuple[str, ...]
) -> None:
    change = change_of(compare(make(), make(text, **processing)))
    assert (change.bump, change.reasons) == (bump, reasons)


def test_of_several_the_largest_decides_and_all_are_told(make: Make) -> None:
    text = "id,pop,area\n10,1,9\n24,7,9\n35,3,9\n59,4,9\n"
    change = change_of(compare(make(), make(text)))
    assert change.bump is Bump.MAJOR
    assert change.reasons == (
        "column name removed",
        "column area added",
        "1 row added, e.g. key 59",
        "1 value of pop changed, e.g. key 24",
    )


@pytest.mark.parametrize(
    ("before", "after", "bump", "reason"),
    [
        ("a\n1\n1\n2\n", "a\n1\n2\n1\n", Bump.NONE, None),
        ("a\n1\n2\n", "a\n1\n1\n2\n", Bump.MINOR, "1 row added"),
        ("a\n1\n1\n2\n", "a\n1\n2\n", Bump.PATCH, "1 row removed"),
        ("a\n1\n2\n", "a\n1\n3\n4\n", Bump.PATCH, "1 row gone or changed, 2 new or changed"),
    ],
)
def test_without_a_key_rows_are_a_multiset(make: Make, before: str, after: str, bump: Bump, reason: str | None) -> None:
    change = change_of(compare(make(before, key=[]), make(after, key=[])))
    assert (change.bump, change.reasons) == (bump, (reason,) if reason else ())


def test_a_key_that_does_not_identify_falls_back_to_the_multiset(make: Make) -> None:
    change = change_of(compare(make("id,v\n1,a\n1,b\n"), make("id,v\n1,a\n1,c\n")))
    assert (change.bump, change.reasons) == (Bump.PATCH, ("1 row gone or changed, 1 new or changed",))


@pytest.fixture
def made_of(declare: Declare, tmp_path: Path) -> Callable[..., Path]:
    """Build features out of shapes and return the data artifact."""
    count = iter(range(100))

    def made(*shapes: object, **processing: object) -> Path:
        into = tmp_path / f"features{next(count)}"
        into.mkdir()
        frame = geopandas.GeoDataFrame({"id": range(len(shapes))}, geometry=list(shapes), crs=4326)
        frame.to_file(into / "shapes.gpkg")
        options = {"key": ["id"], **processing}
        return build(declare(**options), Vintage.parse("2021"), [into / "shapes.gpkg"], into).data

    return made


def test_geometry_is_compared_by_its_bytes_and_the_covering_ignored(made_of: Callable[..., Path]) -> None:
    before = made_of(shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3))
    moved = made_of(shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3.0000001))
    assert change_of(compare(before, moved)).reasons == ("1 value of geometry changed, e.g. key 1",)
    assert change_of(compare(before, moved)).bump is Bump.PATCH
    assert change_of(compare(before, made_of(shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)))).bump is Bump.NONE
    unkeyed = change_of(compare(made_of(shapely.Point(0, 0), key=[]), made_of(shapely.Point(0, 1), key=[])))
    assert unkeyed.reasons == ("1 row gone or changed, 1 new or changed",)


def test_another_geometry_type_is_major(made_of: Callable[..., Path]) -> None:
    multi = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
    change = change_of(compare(made_of(shapely.box(0, 0, 1, 1)), made_of(multi)))
    assert change.bump is Bump.MAJOR
    assert change.reasons[0] == "geometry type changed from Polygon to MultiPolygon"


def test_another_crs_is_major(made_of: Callable[..., Path], tmp_path: Path) -> None:
    before = made_of(shapely.Point(0, 0))
    table = pq.read_table(before)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["geometry"]["crs"]
    pq.write_table(
        table.replace_schema_metadata(table.schema.metadata | {b"geo": json.dumps(geo)}), tmp_path / "n.parquet"
    )
    change = change_of(compare(before, tmp_path / "n.parquet"))
    assert (change.bump, change.reasons) == (Bump.MAJOR, ("CRS changed from EPSG:4326 to OGC:CRS84",))


def test_of_many_columns_each_change_is_found(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(40)]
    metadata = {b"d4c": json.dumps({"key": ["k"]}).encode()}
    before = pa.table({"k": range(1_000), **{name: np.arange(1_000.0) for name in names}}).replace_schema_metadata(
        metadata
    )
    values = np.arange(1_000.0)
    values[500] = np.nan
    after = before.set_column(before.column_names.index("c37"), "c37", pa.array(values))
    pq.write_table(before, tmp_path / "a[1].parquet")
    pq.write_table(after, tmp_path / "b*.parquet")
    change = change_of(compare(tmp_path / "a[1].parquet", tmp_path / "b*.parquet"))
    assert change.reasons == ("1 value of c37 changed, e.g. key 500",)


def test_examples_are_found_whatever_the_key_is_called(tmp_path: Path) -> None:
    key = 'a{b} "c'  # braces are places to fill in, for a careless format
    metadata = {b"d4c": json.dumps({"key": [key]}).encode()}
    before = pa.table({key: [1, 2], "v": ["x", "y"]}).replace_schema_metadata(metadata)
    after = pa.table({key: [2, 3], "v": ["z", "w"]}).replace_schema_metadata(metadata)
    files = tmp_path / "before.parquet", tmp_path / "after.parquet"
    for table, file in zip((before, after), files, strict=True):
        pq.write_table(table, file)
    assert changed_values(*files, compare(*files)) == [
        ("1", "", "removed", ""),
        ("3", "", "", "added"),
        ("2", "v", "y", "z"),
    ]


def test_what_is_no_parquet_file_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.parquet is not a readable Parquet file"):
        change_of(compare(make(), tmp_path / "x.parquet"))
