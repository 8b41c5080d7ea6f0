"""Changes as data: what the file says about every row, and that the earlier files and it make the later files."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, IntegrityError
from d4c_pipeline.model.outputs import Outputs
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import changes
from d4c_pipeline.processing.build import Build, build

VINTAGE = Vintage.parse("2021")
ID = {"id": {"type": "integer"}}
PLACE: dict[str, Any] = {"key": ["id"], "longitude": "x", "latitude": "y", "drop": ["x", "y"], "columns": ID}
Declare = Callable[..., Dataset]


def frame(rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(11)
    table = pd.DataFrame(
        {
            "id": np.arange(rows),
            "name": [f"Lieu {number % 37}" for number in range(rows)],
            "prov": np.array(["Québec", "Ontario", "Yukon", None], object)[random.integers(0, 4, rows)],
            "count": random.integers(0, 1000, rows),
            "share": random.normal(0, 1, rows).round(3),
            "x": random.uniform(-120.0, -70.0, rows).round(6),
            "y": random.uniform(43.0, 60.0, rows).round(6),
        }
    )
    table.loc[:2, ["x", "y"]] = None
    return table


def edited() -> pd.DataFrame:
    """Rows 7 and 8 gone, 900 new, the name of 20 and the count of 30 changed, 40 moved, the share of 50 emptied."""
    table = frame()
    table = table[~table["id"].isin([7, 8])]
    table.loc[table["id"] == 20, "name"] = "Lieu neuf"
    table.loc[table["id"] == 30, "count"] = 5
    table.loc[table["id"] == 40, ["x", "y"]] = [-75.5, 45.5]
    table.loc[table["id"] == 50, "share"] = None
    new = {"id": 900, "name": "Nouveau", "prov": "Yukon", "count": 1, "share": 0.5, "x": -135, "y": 60.7}
    return pd.concat([table, pd.DataFrame([new])], ignore_index=True)


@pytest.fixture
def made(declare: Declare, tmp_path: Path) -> Callable[..., Build]:
    def make(table: pd.DataFrame, into: str, partition: dict[str, Any] | None = None, **processing: Any) -> Build:
        native = tmp_path / f"{into}.csv"
        table.to_csv(native, index=False)
        dataset = declare(**(processing or PLACE))
        dataset = dataset.model_copy(update={"outputs": Outputs.model_validate({"partition": partition})})
        return build(dataset, VINTAGE, [native], tmp_path / into, threads=2)

    return make


def proved(before: Build, after: Build, folder: Path, **options: Any) -> changes.Found:
    """Find the changes, apply them, and expect the later files by a sha256 computed here."""
    found = changes.find(list(before.files.values()), list(after.files.values()), folder / "c.parquet", **options)
    applied = changes.apply(list(reversed(before.files.values())), found.path, folder / "applied")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in applied.files]
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in after.files.values()]
    return found


def test_each_changed_row_has_its_kind_its_columns_and_both_values(made: Callable[..., Build], tmp_path: Path) -> None:
    found = proved(made(frame(), "a"), made(edited(), "b"), tmp_path)

    assert found.recipe.counts == {"added": 1, "removed": 2, "modified": 3, "geometry_modified": 1}
    assert found.by_column == {"name": 1, "count": 1, "share": 1, "geometry": 1}
    of = {"Québec": "24", "Ontario": "35", "Yukon": "60"}
    provinces = pd.concat([frame()["prov"][[7, 8, 20, 30, 40, 50]], pd.Series(["Yukon"])]).map(of).fillna("")
    assert found.by_province == provinces.value_counts().to_dict()
    rows = duckdb.sql(
        f"SELECT key.id, kind, columns, old.name, new.name, old.count, new.count FROM '{found.path}' ORDER BY key.id"
    ).fetchall()
    was = frame().set_index("id")
    assert rows == [
        (7, "removed", [], was.name[7], None, was["count"][7], None),
        (8, "removed", [], was.name[8], None, was["count"][8], None),
        (20, "modified", ["name"], "Lieu 20", "Lieu neuf", None, None),
        (30, "modified", ["count"], None, None, was["count"][30], 5),
        (40, "geometry_modified", ["geometry"], None, None, None, None),
        (50, "modified", ["share"], None, None, None, None),
        (900, "added", [], None, "Nouveau", None, 1),
    ]
    (box,) = duckdb.sql(f"SELECT bbox FROM '{found.path}' WHERE key.id = 40").fetchall()[0]
    x, y = was.x[40], was.y[40]
    # Both places, so that a reader of either finds the change.
    assert box["xmin"] == pytest.approx(min(x, -75.5), abs=1e-4)
    assert box["xmax"] == pytest.approx(max(x, -75.5), abs=1e-4)
    assert box["ymax"] == pytest.approx(max(y, 45.5), abs=1e-4)


TABLE = {"kind": "table", "key": ["id"], "columns": ID}
UNKEYED = {"kind": "table"}


@pytest.mark.parametrize(
    ("name", "numbers", "expected"),
    [
        ("prov", [24, 10, 35, 24], {"10": 1, "24": 1, "35": 1}),
        ("prov", [13, 10, 12, 1], {}),  # the publisher's own: the row that tells is none of the changed
        ("province", ["13", "QC", "12", "3"], {"": 2, "24": 1}),
        ("prov", ["13", "QC", "12", "other"], {"12": 1, "13": 1, "24": 1}),
        ("pruid", [13, 10, 35, 1], {"10": 1, "13": 1, "35": 1}),
    ],
)
def test_numbers_that_are_not_all_codes_of_provinces_name_none(
    made: Callable[..., Build], tmp_path: Path, name: str, numbers: list[Any], expected: dict[str, int]
) -> None:
    table = pd.DataFrame({"id": range(4), name: numbers, "count": 0})
    before, after = (made(table.assign(count=count), into, **TABLE) for into, count in (("a", 0), ("b", [1, 1, 1, 0])))

    assert proved(before, after, tmp_path).by_province == expected


def test_the_memory_for_provinces_does_not_grow_with_the_changed_rows(
    made: Callable[..., Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dguids = [f"2021S0512{(24, 35)[number % 2]}{number:06}" for number in range(20_000)]
    table = pd.DataFrame({"id": range(20_000), "dguid": dguids, "count": 0})
    before, after = (made(table.assign(count=count), f"{count}", **TABLE) for count in (0, 1))
    monkeypatch.setattr(import_module("d4c_pipeline.processing.changes.find"), "_GROUP_ROWS", 2_000)
    tracemalloc.start()
    try:
        found = changes.find(list(before.files.values()), list(after.files.values()), tmp_path / "c.parquet")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found.by_province == {"24": 10_000, "35": 10_000}
    assert peak < 1_000_000  # 3.1 million bytes with a combination of values for each row, else 0.4


@pytest.mark.parametrize("processing", [PLACE, TABLE, UNKEYED, {**PLACE, "geoparquet": "2.0"}], ids=str)
def test_columns_that_come_go_and_change_their_type(
    made: Callable[..., Build], tmp_path: Path, processing: dict[str, Any]
) -> None:
    after = edited().drop(columns="prov")
    after["area"] = np.where(after["id"] % 3 == 0, after["id"] * 1.5, np.nan)
    after["count"] *= 100_000  # a wider type
    before = made(frame(), "a", **processing)
    found = proved(before, made(after, "b", **processing), tmp_path)
    kinds = found.recipe.counts
    if processing is UNKEYED:
        assert set(kinds) == {"added", "removed"}
    else:
        assert kinds["removed"] == 2
        assert kinds["added"] == 1
        assert found.by_column["area"] == int(after[after["id"] != 900]["area"].notna().sum())


def test_narrower_numbers_and_values_that_no_longer_fit(made: Callable[..., Build], tmp_path: Path) -> None:
    before, after = frame(), frame()
    before["count"] *= 100_000
    after["count"] = after["count"].astype("Int64")
    after.loc[after["id"] % 2 == 0, "count"] = None
    found = proved(made(before, "a"), made(after, "b"), tmp_path)
    # Rows of zero are equal as numbers of either type.
    equal = (before["count"] == after["count"]).fillna(value=False)
    assert found.recipe.counts == {"modified": int((~equal).sum())}


@pytest.mark.parametrize("processing", [TABLE, UNKEYED], ids=str)
def test_zero_and_minus_one_of_integers_whose_type_changed(
    made: Callable[..., Build], tmp_path: Path, processing: dict[str, Any]
) -> None:
    before = pd.DataFrame({"id": [1, 2, 3], "value": [-1, 2**40, 0]})
    after = pd.DataFrame({"id": [1, 2, 3], "value": [0, 3, -1]})
    found = proved(made(before, "a", **processing), made(after, "b", **processing), tmp_path)
    assert sum(found.recipe.counts.values()) == (3 if processing is TABLE else 6)


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(
    ("kind", "was", "now"),
    [
        (pa.decimal128(38, 0), 0, -1),
        (pa.decimal128(38, 0), 1, 2**64),
        (pa.decimal128(19, 2), Decimal("0.00"), Decimal("-0.01")),
        (pa.decimal128(18, 2), Decimal("0.00"), Decimal("-0.01")),
        (pa.list_(pa.decimal128(38, 0)), [0, 5], [-1, 5]),
        (pa.struct({"a": pa.decimal128(38, 0)}), {"a": 0}, {"a": -1}),
    ],
    ids=str,
)
def test_decimals_of_128_bits(
    declare: Declare, tmp_path: Path, kind: pa.DataType, was: Any, now: Any, *, keyed: bool
) -> None:
    def built(value: Any, into: str) -> Build:
        native = tmp_path / f"{into}.parquet"
        pq.write_table(pa.table({"id": [1, 2], "amount": pa.array([value, was], kind)}), native)
        return build(declare(**(TABLE if keyed else UNKEYED)), VINTAGE, [native], tmp_path / into, threads=2)

    found = proved(built(was, "a"), built(now, "b"), tmp_path)
    assert found.recipe.counts == ({"modified": 1} if keyed else {"added": 1, "removed": 1})


@pytest.mark.parametrize(
    ("before", "after"), [(pa.decimal128(38, 0), pa.decimal128(10, 0)), (pa.int64(), pa.decimal128(38, 0))]
)
def test_decimals_whose_type_changed_are_new_values(
    declare: Declare, tmp_path: Path, before: pa.DataType, after: pa.DataType
) -> None:
    def built(kind: pa.DataType, values: list[Any], into: str) -> Build:
        native = tmp_path / f"{into}.parquet"
        pq.write_table(pa.table({"id": [1, 2, 3], "amount": pa.array(values, kind)}), native)
        return build(declare(**TABLE), VINTAGE, [native], tmp_path / into, threads=2)

    found = proved(built(before, [0, 7, None], "a"), built(after, [-1, 7, None], "b"), tmp_path)
    assert found.by_column == {"amount": 2}


def test_zeros_of_two_signs_are_different_bytes(made: Callable[..., Build], tmp_path: Path) -> None:
    before, after = frame(), frame()
    before.loc[5, "share"], after.loc[5, "share"] = 0.0, -0.0
    typed = {**PLACE, "columns": {**ID, "share": {"type": "float"}}}
    found = proved(made(before, "a", **typed), made(after, "b", **typed), tmp_path)
    assert found.by_column == {"share": 1}


@pytest.mark.parametrize("cut", [{"by": "prov", "over": 0}, {"by": "spatial", "over": 0, "part": 0.005}], ids=str)
def test_data_in_parts(made: Callable[..., Build], tmp_path: Path, cut: dict[str, Any]) -> None:
    table, after = frame(30_000), frame(30_000)
    after.loc[after["id"] == 123, "prov"] = "Yukon"
    after.loc[after["id"] == 124, "x"] = -60.0
    before, later = made(table, "a", cut), made(after, "b", cut)
    assert len(later.files) > 1
    partition = Outputs.model_validate({"partition": cut}).partition
    found = proved(before, later, tmp_path, cut=partition)
    assert sum(found.recipe.counts.values()) == 2 - int(table.prov[123] == "Yukon")


def test_without_a_key_equal_rows_are_counted(made: Callable[..., Build], tmp_path: Path) -> None:
    before = pd.DataFrame({"a": [1, 1, 1, 2, 3], "b": ["x", "x", "x", "y", "z"]})
    after = pd.DataFrame({"a": [1, 2, 2, 4], "b": ["x", "y", "y", "w"]})
    found = proved(made(before, "a", **UNKEYED), made(after, "b", **UNKEYED), tmp_path)
    assert found.recipe.counts == {"added": 2, "removed": 3}
    rows = duckdb.sql(f"SELECT kind, coalesce(old.a, new.a) FROM '{found.path}' ORDER BY ALL").fetchall()
    assert rows == [("added", 2), ("added", 4), ("removed", 1), ("removed", 1), ("removed", 3)]


def test_nothing_changed_but_the_words(made: Callable[..., Build], tmp_path: Path) -> None:
    described = {**ID, "name": {"description": {"en": "Its name", "fr": "Son nom"}}}
    found = proved(made(frame(), "a"), made(frame(), "b", **{**PLACE, "columns": described}), tmp_path)
    assert found.recipe.counts == {}
    assert pq.read_metadata(found.path).num_rows == 0


def test_areas_of_a_real_file(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    source = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    before = build(declare(key=["pruid"]), VINTAGE, [source], tmp_path / "a")
    sql = (
        "SELECT * REPLACE (CASE WHEN PRUID = '24' THEN 'Le Québec' ELSE PRFNAME END AS PRFNAME) FROM source"
        " WHERE PRUID <> '62'"
    )
    after = build(declare(key=["pruid"], sql_text=sql), VINTAGE, [source], tmp_path / "b")
    found = proved(before, after, tmp_path)
    assert found.recipe.counts == {"removed": 1, "modified": 1}


def test_the_bytes_depend_on_the_files_only(made: Callable[..., Build], tmp_path: Path) -> None:
    before, after = made(frame(), "a"), made(edited(), "b")
    written = [
        changes.find(before.data, after.data, tmp_path / f"{threads}.parquet", threads=threads, memory_limit=limit).path
        for threads, limit in ((1, None), (2, "200MB"))
    ]
    assert written[0].read_bytes() == written[1].read_bytes()


def test_files_of_another_state_and_damaged_changes_are_refused(made: Callable[..., Build], tmp_path: Path) -> None:
    before, after = made(frame(), "a"), made(edited(), "b")
    found = changes.find(before.data, after.data, tmp_path / "c.parquet")
    with pytest.raises(IntegrityError, match="begins with data"):
        changes.apply(after.data, found.path, tmp_path / "applied")
    with pytest.raises(DataError, match="not one of changes"):
        changes.apply(before.data, after.data, tmp_path / "applied")
    table = pq.read_table(found.path)
    fewer = table.slice(1)
    pq.write_table(fewer.replace_schema_metadata({b"d4c_changes": found.recipe.to_bytes()}), tmp_path / "fewer.parquet")
    with pytest.raises(IntegrityError, match=r"and fewer\.parquet make 400 rows, not 399"):
        changes.apply(before.data, tmp_path / "fewer.parquet", tmp_path / "applied")
    assert list((tmp_path / "applied").glob("*.parquet")) == []
    newer = json.loads(found.recipe.to_bytes()) | {"format": 2}
    pq.write_table(table.replace_schema_metadata({b"d4c_changes": json.dumps(newer)}), tmp_path / "newer.parquet")
    with pytest.raises(DataError, match="has format 2 of changes"):
        changes.apply(before.data, tmp_path / "newer.parquet", tmp_path / "applied")
    assert pa.types.is_struct(table.schema.field("new").type)
