"""Data that is cut into several files: by a column, by location, in memory and out of it, always the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.bumps import change_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.outputs import Outputs
from d4c_pipeline.model.parts import MOST_PARTS
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import build as building
from d4c_pipeline.processing.build import Build, build
from d4c_pipeline.processing.checks.run import run_checks
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline.processing.compare import compare
from d4c_pipeline.processing.derived.finished import Finished
from d4c_pipeline.processing.preview import map_png

VINTAGE = Vintage.parse("2021")
ROWS = 45_000
NAMES = ("Québec", "Ontario", "Yukon")
BY_NAME = {"by": "prov", "over": 0}
SPATIAL = {"by": "spatial", "over": 0, "part": 0.35}

Declare = Callable[..., Dataset]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points over Canada of three provinces and of none, a few without a place, one province east of all others."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "prov": np.array([*NAMES, None], object)[random.integers(0, 4, ROWS)],
            "x": random.uniform(-120.0, -70.0, ROWS).round(6),
            "y": random.uniform(43.0, 60.0, ROWS).round(6),
        }
    )
    frame.loc[frame["prov"] == "Québec", "x"] += 15
    frame.loc[:4, ["x", "y"]] = None
    path = tmp_path_factory.mktemp("points") / "points.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def cut(declare: Declare, tmp_path: Path, points: Path) -> Callable[..., Build]:
    """Build the points, cut as `partition` says."""

    def make(
        partition: dict[str, Any] | None, into: str = "out", native: Path = points, *, threads: int = 2, **more: Any
    ) -> Build:
        dataset = declared(declare, partition, **more)
        return build(dataset, VINTAGE, [native], tmp_path / into, threads=threads)

    return make


def declared(declare: Declare, partition: dict[str, Any] | None, **more: Any) -> Dataset:
    place: dict[str, Any] = {"key": ["id"], "longitude": "x", "latitude": "y"}
    dataset = declare(**(more or place), columns={"id": {"type": "integer"}})
    return dataset.model_copy(update={"outputs": Outputs.model_validate({"partition": partition})})


def digests(done: Build) -> dict[str, str]:
    return {part: hashlib.sha256(path.read_bytes()).hexdigest() for part, path in done.files.items()}


def ids(paths: list[Path]) -> list[int]:
    return sorted(duckdb.sql(f"SELECT id FROM read_parquet({[str(path) for path in paths]})").fetchnumpy()["id"])


def test_by_a_column_each_value_has_a_file_of_its_own(cut: Callable[..., Build], tmp_path: Path) -> None:
    whole, done = cut(None, "whole"), cut(BY_NAME)

    assert list(done.files) == ["prov-null", "prov-ontario", "prov-quebec", "prov-yukon"]
    assert [path.name for path in done.files.values()] == [f"data_{part}.parquet" for part in done.files]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"data_{part}.parquet" for part in done.files),
        "profile.json",
    ]
    for part, value in zip(done.files, [None, "Ontario", "Québec", "Yukon"], strict=True):
        table = pq.read_table(done.files[part])
        assert set(table["prov"].to_pylist()) == {value}
    # As one dataset: all the rows, in one schema, and each in the order that the one file has.
    paths = list(done.files.values())
    assert ids(paths) == list(range(ROWS))
    assert pads.dataset(paths).count_rows() == ROWS
    order = pq.read_table(whole.data, columns=["id", "prov"]).to_pandas()
    assert pq.read_table(done.files["prov-yukon"])["id"].to_pylist() == order[order["prov"] == "Yukon"]["id"].tolist()
    assert done.summary.partition == "by prov"
    assert (whole.summary.partition, [part.name for part in whole.summary.parts]) == (None, [""])


@pytest.mark.parametrize("partition", [BY_NAME, SPATIAL])
def test_each_part_says_its_own_box_and_passes_every_check(
    cut: Callable[..., Build], declare: Declare, tmp_path: Path, partition: dict[str, Any]
) -> None:
    done = cut(partition)

    boxes = []
    for part, path in done.files.items():
        frame = geopandas.read_parquet(path)
        (known,) = [one for one in done.summary.parts if one.name == part]
        assert known.rows == len(frame) < ROWS
        assert known.bounds == pytest.approx(tuple(frame.total_bounds), abs=0)
        boxes.append(Finished.open(path).bounds)
        assert boxes[-1] == known.bounds
        file = pq.ParquetFile(path)
        assert file.schema_arrow.equals(pq.read_schema(next(iter(done.files.values()))))
        for group in range(file.num_row_groups):
            chunks = [file.metadata.row_group(group).column(n) for n in range(file.metadata.num_columns)]
            assert all(chunk.has_offset_index and chunk.has_column_index for chunk in chunks[:2])
    assert len(set(boxes)) == len(boxes) > 2
    assert Finished.open(list(done.files.values())).bounds == done.summary.bounds
    paths = list(done.files.values())
    dataset = declared(declare, partition)
    verdicts = run_checks(paths, done.profile, done.summary, dataset, VINTAGE, None, work=tmp_path / "checks")
    assert {verdict.check: verdict.outcome for verdict in verdicts if verdict.outcome} == {}
    readable = next(verdict for verdict in verdicts if verdict.check == "readable_by_others")
    assert readable.actual == "pyarrow 45000; pyarrow, geometry 45000; DuckDB 45000; geopandas 45000"
    # A part that lost rows, or has another's box, is seen although the others are right.
    pq.write_table(pq.read_table(paths[1]).slice(1), paths[1], compression="zstd")
    worse = run_checks(paths, done.profile, done.summary, dataset, VINTAGE, None, work=tmp_path / "checks")
    failed = {verdict.check for verdict in worse if verdict.outcome is Outcome.FAILURE}
    assert {"schema_as_declared", "readable_by_others"} <= failed


def test_by_location_neighbours_stay_together_in_parts_of_about_a_size(cut: Callable[..., Build]) -> None:
    whole, done = cut(None, "whole"), cut(SPATIAL)

    assert list(done.files) == ["part-01", "part-02", "part-03", "part-04"]
    assert done.summary.partition == "by location into parts of about 0.35 MB"
    sizes = [path.stat().st_size for path in done.files.values()]
    assert sum(sizes) < whole.data.stat().st_size * 1.05
    # One after the other they are the one file, row for row.
    rows = pa.concat_tables(pq.read_table(path, columns=["id", "geometry"]) for path in done.files.values())
    assert rows.to_pylist() == pq.read_table(whole.data, columns=["id", "geometry"]).to_pylist()
    # Part by part a window is read from fewer files: the parts' boxes do not all cover everything.
    west = [part for part in done.summary.parts if part.bounds is not None and part.bounds[0] < -110]
    assert 0 < len(west) < 4


@pytest.mark.parametrize("partition", [BY_NAME, SPATIAL])
def test_the_same_bytes_with_other_threads_and_out_of_memory(
    cut: Callable[..., Build], partition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digests(cut(partition, threads=1))
    assert digests(cut(partition, "two", threads=2)) == first
    assert digests(cut(partition, "four", threads=4)) == first
    monkeypatch.setattr(building, "in_memory_bytes", lambda _: 1 << 20)
    monkeypatch.setattr("d4c_pipeline.processing.prepare.in_memory_bytes", lambda _: 1 << 20)
    assert digests(cut(partition, "on_disk")) == first


def test_how_rows_fall_into_files_is_no_change_of_content(cut: Callable[..., Build]) -> None:
    builds = [cut(None, "whole"), cut(BY_NAME, "by_name"), cut(SPATIAL, "spatial")]
    for one in builds:
        for other in builds:
            assert change_of(compare(list(one.files.values()), list(other.files.values()))).bump is Bump.NONE
    whole, by_name = builds[:2]
    some = [path for part, path in by_name.files.items() if part != "prov-yukon"]
    lost = change_of(compare([whole.data], some))
    assert lost.bump is Bump.PATCH
    assert "rows removed" in lost.reasons[0]
    # Nor is anything else that is made of all rows together.
    profiles = [{**json.loads(one.profile.read_text()), "row_groups": None} for one in builds]
    assert profiles[0] == profiles[1] == profiles[2]
    assert map_png(whole.data) == map_png(list(by_name.files.values()))


def test_what_is_no_larger_than_it_may_be_stays_one_file_and_other_parts_go(
    cut: Callable[..., Build], tmp_path: Path
) -> None:
    assert len(cut(BY_NAME).files) == 4
    done = cut({"by": "prov", "over": 100})
    assert (list(done.files), done.summary.partition) == ([""], None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.parquet", "profile.json"]
    assert digests(done) == digests(cut(None, "whole"))
    # A column with one value, and parts as large as the whole, leave one file as well.
    assert list(cut({"by": "spatial", "over": 0, "part": 100}).files) == [""]


def test_a_table_is_cut_by_numbers_dates_and_booleans(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "k,year,day,open,never\n1,2020,2021-05-11,true,\n2,2021,2021-05-11,false,\n3,,,,\n", "utf-8"
    )

    def parts(column: str) -> list[str]:
        dataset = declare(kind="table", key=["k"], types="narrow")
        partition = Outputs.model_validate({"partition": {"by": column, "over": 0}})
        dataset = dataset.model_copy(update={"outputs": partition})
        done = build(dataset, VINTAGE, [tmp_path / "t.csv"], tmp_path / column)
        assert ids_of(done) == [1, 2, 3]
        assert all(part.bounds is None for part in done.summary.parts)
        return list(done.files)

    def ids_of(done: Build) -> list[int]:
        return sorted(int(k) for path in done.files.values() for k in pq.read_table(path)["k"].to_pylist())

    assert parts("year") == ["year-2020", "year-2021", "year-null"]
    assert parts("day") == ["day-2021-05-11", "day-null"]
    assert parts("never") == [""]
    assert parts("open") == ["open-false", "open-null", "open-true"]


def test_more_parts_than_a_record_holds_are_refused_in_one_sentence(
    cut: Callable[..., Build], declare: Declare, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"column id, by which the data is to be cut, has more than {MOST_PARTS} val"):
        cut({"by": "id", "over": 0})
    # What stays one file may have as many values as it likes.
    assert list(cut({"by": "id", "over": 100}).files) == [""]
    with pytest.raises(DataError, match=r"partitioned by nowhere, which is not a column: id, prov.*partition\.by"):
        cut({"by": "nowhere"})
    (tmp_path / "f.csv").write_text("k,v\n1,0.5\n2,1.5\n", "utf-8")
    dataset = declare(kind="table").model_copy(update={"outputs": Outputs.model_validate({"partition": {"by": "v"}})})
    with pytest.raises(DataError, match="cut by v, a column of type double, which has no few values"):
        build(dataset, VINTAGE, [tmp_path / "f.csv"], tmp_path / "floats")
    assert not list(tmp_path.glob("out/.processing-*"))


def test_too_small_parts_by_location_are_refused(cut: Callable[..., Build], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_pipeline.geoparquet.partition.MOST_PARTS", 3)
    with pytest.raises(DataError, match=r"would lie in 4 files; a record.*holds 3 .*Raise outputs\.partition\.part"):
        cut(SPATIAL)


def test_parts_of_geoparquet_2_and_of_mixed_types_state_what_is_in_them(declare: Declare, tmp_path: Path) -> None:
    import shapely

    squares = [shapely.box(n, 45, n + 0.5, 46) for n in range(-80, -70)]
    shapes = [*squares, *(shapely.MultiPolygon([square]) for square in squares), shapely.Point(-90, 45)]
    frame = geopandas.GeoDataFrame(
        {"id": range(21), "kind": ["a"] * 10 + ["b"] * 10 + ["c"]}, geometry=shapes, crs=4326
    )
    frame.to_file(tmp_path / "shapes.geojson")
    dataset = declare(key=["id"], geoparquet="2.0").model_copy(
        update={"outputs": Outputs.model_validate({"partition": {"by": "kind", "over": 0}})}
    )
    done = build(dataset, VINTAGE, [tmp_path / "shapes.geojson"], tmp_path / "out")
    types = {part: Finished.open(path).types for part, path in done.files.items()}
    assert types == {"kind-a": ("MultiPolygon",), "kind-b": ("MultiPolygon",), "kind-c": ("Point",)}
    paths = list(done.files.values())
    verdicts = run_checks(paths, done.profile, done.summary, dataset, VINTAGE, None, work=tmp_path / "checks")
    assert {verdict.check: verdict.actual for verdict in verdicts if verdict.outcome} == {}
