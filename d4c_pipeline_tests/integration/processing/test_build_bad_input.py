"""Bad input and bad disks: one sentence with the remedy, the folder clean, an earlier build untouched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import d4c_pipeline
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, StorageError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


@pytest.fixture
def shapefile(tmp_path: Path) -> Path:
    """A shapefile of three points in a folder of its own."""
    folder = tmp_path / "shapefile"
    folder.mkdir()
    names = ["Québec", "Montréal", "Ottawa"]
    frame = geopandas.GeoDataFrame({"name": names}, geometry=shapely.points([-71, -73, -75], 45.0), crs=4326)
    frame.to_file(folder / "places.shp", encoding="utf-8")
    return folder / "places.shp"


def refused(dataset: Dataset, natives: list[Path], into: Path, message: str) -> None:
    into.mkdir(exist_ok=True)
    (into / "data.parquet").write_bytes(b"earlier")
    with pytest.raises(DataError, match=message):
        build(dataset, VINTAGE, natives, into)
    assert {path.name for path in into.iterdir()} <= {"data.parquet", "profile.json"}
    assert (into / "data.parquet").read_bytes() == b"earlier"


def test_a_bare_shapefile_whose_parts_lie_in_folders_of_their_own(
    declare: Declare, shapefile: Path, tmp_path: Path
) -> None:
    parts = []
    for part in sorted(shapefile.parent.iterdir()):
        (tmp_path / part.suffix).mkdir()
        parts.append(Path(shutil.copy(part, tmp_path / part.suffix / part.name)))
    done = build(declare(), VINTAGE, parts, tmp_path / "out")
    assert geopandas.read_parquet(done.data)["name"].tolist() == ["Ottawa", "Montréal", "Québec"]
    assert done.summary.report["encoding"] == "utf-8"


def test_without_prj_the_crs_must_be_declared(declare: Declare, shapefile: Path, tmp_path: Path) -> None:
    shapefile.with_suffix(".prj").unlink()
    parts = list(shapefile.parent.iterdir())
    refused(
        declare(), parts, tmp_path / "out", r"does not say its coordinate reference system\. Declare processing\.crs"
    )
    done = build(declare(crs="EPSG:4269"), VINTAGE, parts, tmp_path / "out")
    assert done.summary.report["source_crs"] == "EPSG:4269"
    refused(declare(crs="EPSG:0"), parts, tmp_path / "out", "is unknown: EPSG:0")


def test_a_wrong_crs_is_overridden_only_when_asked(declare: Declare, shapefile: Path, tmp_path: Path) -> None:
    parts = list(shapefile.parent.iterdir())
    assert build(declare(crs="EPSG:3347"), VINTAGE, parts, tmp_path / "a").summary.report["source_crs"] == "EPSG:4326"
    refused(
        declare(crs="EPSG:2953", override_crs=True, sql_text="SELECT * FROM source WHERE ST_Y(geometry) > 80"),
        parts,
        tmp_path / "b",
        "returns no rows",
    )


@pytest.mark.parametrize("suffix", [".shp", ".dbf", ".shx"])
def test_a_truncated_part_is_noticed(declare: Declare, shapefile: Path, tmp_path: Path, suffix: str) -> None:
    part = shapefile.with_suffix(suffix)
    os.truncate(part, part.stat().st_size - 10)
    refused(declare(), list(shapefile.parent.iterdir()), tmp_path / "out", f"places{suffix} is truncated: ")


def test_a_missing_part_is_noticed(declare: Declare, shapefile: Path, tmp_path: Path) -> None:
    shapefile.with_suffix(".dbf").unlink()
    refused(declare(), list(shapefile.parent.iterdir()), tmp_path / "out", r"was delivered without its \.dbf")


def test_a_truncated_zip_and_one_that_is_none(declare: Declare, fixtures: Path, tmp_path: Path) -> None:
    content = (fixtures / "05_ttc_stops" / "TTC_stops.zip").read_bytes()
    (tmp_path / "stops.zip").write_bytes(content[: len(content) // 2])
    refused(declare(), [tmp_path / "stops.zip"], tmp_path / "out", "zip")
    (tmp_path / "stops.zip").write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    refused(declare(), [tmp_path / "stops.zip"], tmp_path / "out", "is not a zip file")


def test_a_truncated_geopackage(declare: Declare, fixtures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(fixtures / "02_statcan_nrn_boundaries" / "boundaries.zip") as archive:
        archive.extract("boundaries.gpkg", tmp_path)
    os.truncate(tmp_path / "boundaries.gpkg", 1_000_000)
    refused(declare(), [tmp_path / "boundaries.gpkg"], tmp_path / "out", "can't be read")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.geojson", b"<!doctype html>", "is an HTML page"),
        ("a.geojson", b"<OGRVRTDataSource/>", "does not begin as a .geojson file does"),
        ("a.gpkg", b"SQL", "does not begin as a .gpkg file does"),
        ("a.csv", b"", "is empty"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": []}', "no rows|no layer"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": [{"type":', "can't be read"),
        ("a.csv", b"x,y\n", "has no rows"),
        ("a.csv", b"x,y\n1,2,3\n", "Expected 2 columns, got 3"),
        (
            "a.csv",
            b"x,y\n..,45\n",
            "Column x has the value '..': the text is neither a number nor degrees, minutes and seconds",
        ),
        ("a.csv", b"x,y\n45,-95\n", "no longitude and latitude"),
        ("a.csv", b"a,b\n45,-75\n", "no column x for coordinates. Declare one of a, b"),
        ("a.pdf", b"%PDF", "No file is of a known kind for a vector among a.pdf"),
    ],
)
def test_files_that_are_not_what_they_should_be(
    declare: Declare, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(declare(longitude="x", latitude="y"), [tmp_path / name], tmp_path / "out", message)


def test_text_without_declared_coordinates_is_no_vector(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    remedy = r"Declare processing\.longitude and latitude \(of the columns x, y\)"
    refused(declare(), [tmp_path / "a.csv"], tmp_path / "out", remedy)


def test_layers_are_chosen_or_named(declare: Declare, tmp_path: Path) -> None:
    native = tmp_path / "two.gpkg"
    for layer, place in (("roads", -75), ("rivers", -76)):
        geopandas.GeoDataFrame({"n": [1]}, geometry=shapely.points([place], 45.0), crs=4326).to_file(
            native, layer=layer
        )
    refused(declare(), [native], tmp_path / "out", "has 2 layers: roads, rivers. Declare the layer to read")
    refused(declare(layer="lakes"), [native], tmp_path / "out", "has no layer lakes; it has roads, rivers")
    assert build(declare(layer="rivers"), VINTAGE, [native], tmp_path / "out").summary.bounds == (-76, 45, -76, 45)


def test_several_files_are_named_and_a_glob_chooses(declare: Declare, fixtures: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"id\n{name}\n")
    both = [tmp_path / "a.csv", tmp_path / "b.csv"]
    refused(declare(kind="table"), both, tmp_path / "out", r"Several files could be the data: a\.csv, b\.csv")
    refused(declare(kind="table", member="c*"), both, tmp_path / "out", r"No file matches member 'c\*'")
    assert build(declare(kind="table", member="b*"), VINTAGE, both, tmp_path / "out").summary.rows == 1
    wds = fixtures / "08_statcan_wds" / "10100001-eng.zip"
    assert build(declare(kind="table"), VINTAGE, [wds], tmp_path / "wds").summary.rows == 182


@pytest.mark.parametrize(
    ("processing", "message"),
    [
        ({"key": ["nothing"]}, "Key column nothing is not among the columns: a, b"),
        ({"columns": {"c": {"source": "C"}}}, r"Declared column c \(source C\) is missing; the columns are A, b"),
        ({"columns": {"x": {"source": "A"}, "y": {"source": "A"}}}, "Columns x and y both have the source A"),
        ({"columns": {"b": {"type": "integer"}}}, "Column b .* integer: 'two'"),
        ({"encoding": "klingon"}, "not an encoding"),
        ({"sql": "missing.sql"}, "missing.sql is not in the dataset's folder"),
    ],
)
def test_declarations_that_do_not_fit_the_data(
    declare: Declare, tmp_path: Path, processing: dict[str, object], message: str
) -> None:
    (tmp_path / "a.csv").write_text("A,b\n1,two\n")
    with pytest.raises(Exception, match=message) as refusal:
        build(declare(kind="table", **processing), VINTAGE, [tmp_path / "a.csv"], tmp_path / "out")
    assert type(refusal.value).__name__ in ("DataError", "DefinitionError")


_TINY_DISK = """
import resource, sys
from pathlib import Path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
dataset = Dataset.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    build(dataset, Vintage.parse("2021"), [Path(sys.argv[2])], Path(sys.argv[3]))
except StorageError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("limit", [4_096, 300_000])
def test_a_disk_that_takes_no_more_is_a_storage_error(
    declare: Declare, fixtures: Path, tmp_path: Path, limit: int
) -> None:
    # 300 kB lets the text be read and stops the Parquet file; 4 kB stops it at its beginning.
    dataset = declare(longitude="Longitude", latitude="Latitude", nulls=[".."])
    (tmp_path / "dataset.json").write_text(dataset.model_dump_json(), "utf-8")
    into = tmp_path / "out"
    root = str(Path(d4c_pipeline.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", _TINY_DISK, tmp_path / "dataset.json",
         fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv", into, str(limit)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert "File too large" in done.stdout
    assert list(into.iterdir()) == []


def test_ten_thousand_columns_are_built(declare: Declare, tmp_path: Path) -> None:
    names = ["id", *(f"c{number}" for number in range(9_999))]
    lines = [",".join(str(row + n) for n in range(10_000)) for row in (2, 1)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join(names), *lines]))
    dataset = declare(kind="table", key=["id"], types="keep")
    done = build(dataset, VINTAGE, [tmp_path / "wide.csv"], tmp_path / "out")
    assert (done.summary.rows, len(done.summary.columns)) == (2, 10_000)
    profile = json.loads(done.profile.read_text("utf-8"))["columns"]
    assert profile["c9998"] == {"type": "string", "nulls": 0, "distinct": 2, "min": "10000", "max": "10001"}
    assert pq.read_table(done.data, columns=["id", "c9998"]).to_pylist() == [
        {"id": "1", "c9998": "10000"},
        {"id": "2", "c9998": "10001"},
    ]


_FULL_WHILE_SORTING = """
import resource, sys
from pathlib import Path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.geoparquet import merge
from d4c_pipeline.processing import build
sort = merge.on_disk
def full(*arguments, **options):
    # From here on the disk takes little: the parts of the sort are bigger.
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
    return sort(*arguments, **options)
merge.on_disk = full
dataset = Dataset.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
try:
    build.build(dataset, Vintage.parse("2021"), [Path(sys.argv[2])], Path(sys.argv[3]), memory_limit="16MB")
except StorageError as error:
    print(error)
    sys.exit(7)
"""


def test_a_disk_that_is_full_while_rows_are_sorted(declare: Declare, tmp_path: Path) -> None:
    lines = [f"{n * 7919 % 200_003},{n},name of number {n}" for n in range(200_000)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,n,name", *lines]) + "\n")
    (tmp_path / "dataset.json").write_text(declare(kind="table", key=["id"]).model_dump_json(), "utf-8")
    into = tmp_path / "out"
    into.mkdir()
    (into / "data.parquet").write_bytes(b"earlier")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_WHILE_SORTING, tmp_path / "dataset.json", tmp_path / "rows.csv", into],
        env={**os.environ, "PYTHONPATH": str(Path(d4c_pipeline.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "File too large" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [path.name for path in into.iterdir()] == ["data.parquet"]
    assert (into / "data.parquet").read_bytes() == b"earlier"


_LONG_TEXTS = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import build, profile
dataset = Dataset.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
def memory(what):
    own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(own[what].split()[0]) >> 10
def summary(data, *arguments, **options):
    (file,) = data
    print(memory("VmRSS"))
    meta = pq.read_metadata(file)
    print(meta.num_rows, meta.num_row_groups, sum(meta.row_group(n).num_rows for n in range(meta.num_row_groups)))
    return profiled(data, *arguments, **options)
profiled, profile.profile = profile.profile, summary
try:
    build.build(dataset, Vintage.parse("2021"), [Path(sys.argv[2])], Path(sys.argv[3]), memory_limit="1GB")
except StorageError as error:
    print(error)
print(memory("VmHWM"))
"""


def test_a_text_column_of_more_than_two_gigabytes(declare: Declare, tmp_path: Path) -> None:
    # 22,000 different texts of 100 kB: Arrow's offsets of 32 bits end at 2 GiB, so no group of rows may have them all.
    native = tmp_path / "long.parquet"
    schema = pa.schema([("id", pa.int32()), ("text", pa.string())])
    with pq.ParquetWriter(native, schema, use_dictionary=False, compression="zstd") as writer:
        for first in range(22_000, 0, -1_000):
            numbers = list(range(first, first - 1_000, -1))
            texts = [f"{number:06d}{'text ' * 20_000}" for number in numbers]
            writer.write_table(pa.table({"id": pa.array(numbers, pa.int32()), "text": texts}, schema))
    (tmp_path / "dataset.json").write_text(declare(kind="table", key=["id"]).model_dump_json(), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _LONG_TEXTS, tmp_path / "dataset.json", native, tmp_path / "out"],
        # Such text is packed 30,000 times, which is refused by default.
        env={**os.environ, "PYTHONPATH": str(Path(d4c_pipeline.__file__).parent.parent), "D4C_READ_RATIO": "100000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left, written, told, peak = done.stdout.splitlines()
    # The data are written whole, in groups of 128 MiB; the profile of such texts wants more than it may have.
    assert written == "22000 17 22000"
    assert told.startswith("Profiling data.parquet needs more memory than DuckDB may use: Out of Memory Error")
    assert told.endswith("Raise the memory limit or free disk space.")
    # The groups being written and what the allocator keeps, 2,900 as a rule; the column twice would be 4,200 alone.
    assert int(peak) < 4_000
    # What the allocator kept was given back before DuckDB began: 400 as a rule (1,203 once, beside nine
    # other processes), 2,300 and more if it was not.
    assert int(left) < 1_800
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_can_not_be_a_folder_is_a_storage_error(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"):
        build(declare(kind="table"), VINTAGE, [tmp_path / "a.csv"], tmp_path / "file" / "out")
