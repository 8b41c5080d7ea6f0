"""Checks over builds of real data: what is right passes, and gpio agrees on the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.model.checks import Checks
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import Build, build
from d4c_pipeline.processing.checks.run import CHECKS, checks_of, run_checks
from d4c_pipeline.processing.checks.verdict import Outcome, PreviousFacts, Verdict
from d4c_pipeline.tables import duckdb_engine

VINTAGE = Vintage.parse("2021")
Declare = Callable[..., Dataset]
CANADA = {"west": -141.1, "south": 41.6, "east": -52.5, "north": 83.2}
FACILITIES: dict[str, Any] = {"key": ["index"], "longitude": "Longitude", "latitude": "Latitude", "nulls": [".."]}
# Of 6,688 street numbers one is a word, which the check of types reports.
FACILITIES |= {"columns": {"street_no": {"type": "string"}}}
PROVINCES = "01_statcan_provinces_2016/province_territory_simplified_sp.zip"
# What is declared, the file, and totals that its publisher states or that were counted in the source.
REAL: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, float] | None]] = {
    "01": (
        PROVINCES,
        {
            "key": ["pruid"],
            "dguids": [{"from": "PRUID", "type": "A", "schema": "0002", "vintage": "2016"}],
        },
        [{"rows": 13}, {"column": "dguid", "distinct": 13}],
        CANADA,
    ),
    "05": ("05_ttc_stops/TTC_stops.zip", {"key": ["feature_nu"]}, [{"rows": 10_025}], None),
    "07": ("07_statcan_odcaf/ODCAF_v1.0.csv", FACILITIES, [{"column": "csduid", "count": 7_671}], CANADA),
    "08": (
        "08_statcan_wds/33100036-eng.zip",
        {"kind": "table", "wds": {}},
        [{"rows": 90_086}, {"column": "value", "count": 90_086 - 12_495}],
        CANADA,
    ),
    "08 with DGUIDs": (
        "08_statcan_wds/18100204-eng.zip",
        {"kind": "table", "wds": {}, "dguids": [{"column": "dguid"}]},
        [{"rows": 11_804}],
        None,
    ),
}


def with_checks(dataset: Dataset, extent: dict[str, float] | None = None, **checks: Any) -> Dataset:
    value = dataset.model_dump() | {"checks": Checks.model_validate(checks).model_dump(), "extent": extent}
    return Dataset.model_validate(value).model_copy(update={"folder": dataset.folder})


def judged(done: Build, dataset: Dataset, tmp_path: Path, previous: PreviousFacts | None = None) -> dict[str, Verdict]:
    verdicts = run_checks(
        done.data, done.profile, done.summary, dataset, VINTAGE, previous, work=tmp_path / "checks", threads=2
    )
    assert not list((tmp_path / "checks").iterdir())
    return {verdict.check: verdict for verdict in verdicts}


@pytest.mark.parametrize("name", REAL)
def test_real_data_passes_all_checks_that_apply(name: str, fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    file, processing, totals, extent = REAL[name]
    dataset = with_checks(declare(**processing), extent, totals=totals)
    done = build(dataset, VINTAGE, [fixtures / file], tmp_path / "out")
    previous = PreviousFacts.of("the_same_v0.1.0-beta", done.summary)
    verdicts = judged(done, dataset, tmp_path, previous)
    assert list(verdicts) == [check.name for check in checks_of(dataset)]
    assert {each.check: (each.actual, each.examples) for each in verdicts.values() if each.outcome} == {}
    assert not any(verdict.remedy for verdict in verdicts.values())


def test_which_checks_apply(declare: Declare) -> None:
    def names(dataset: Dataset) -> list[str]:
        return [check.name for check in checks_of(dataset)]

    table = ["schema_as_declared", "rows_against_previous", "encoding_sane", "types_plausible", "readable_by_others"]
    assert names(declare(kind="table")) == table
    assert set(names(declare(kind="table", key=["a"]))) - set(table) == {"keys_identify_rows"}
    everything = with_checks(
        declare(key=["a"], dguids=[{"column": "dguid"}]), totals=[{"rows": 1}]
    )  # fmt: skip
    assert names(everything) == [check.name for check in CHECKS]
    assert len(CHECKS) == 12
    skipping = with_checks(everything, skip=["encoding_sane", "geometry_valid"], totals=[{"rows": 1}])
    assert "types_plausible" not in names(declare(kind="table", wds={}))
    assert "types_plausible" not in names(declare(kind="table", types="keep"))
    assert set(names(everything)) - set(names(skipping)) == {"encoding_sane", "geometry_valid"}


def test_what_is_wrong_with_real_data_is_found(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    declared = declare(key=["csduid"], **{name: FACILITIES[name] for name in ("longitude", "latitude", "nulls")})
    dataset = with_checks(
        declared,
        {"west": -80.0, "south": 41.6, "east": -52.5, "north": 83.2},
        totals=[
            {"rows": 8_000},
            {"rows": 8_000, "tolerance": 28},
            {"column": "csduid", "count": 7_671},
            {"column": "latitude", "sum": 1.0},
            {"column": "nowhere", "distinct": 1},
            {"rows": 1, "vintage": "2016"},
        ],
    )
    done = build(dataset, VINTAGE, [fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv"], tmp_path / "out")
    verdicts = judged(done, dataset, tmp_path)
    failed = {name for name, verdict in verdicts.items() if verdict.outcome is Outcome.FAILURE}
    assert failed == {"keys_identify_rows", "geometry_valid", "expected_totals"}

    keys = verdicts["keys_identify_rows"]
    assert keys.actual.startswith("301 rows with a null key, ")
    assert keys.remedy == "Declare the columns that identify a row under processing.key, or none"
    assert keys.examples[0]["csduid"] == "1001240"
    assert keys.examples[0]["rows"] > 1

    geometry = verdicts["geometry_valid"]
    assert "outside the extent" in geometry.actual
    assert all(example["bounds"][0] < -80 for example in geometry.examples)
    assert len(geometry.examples) == 5

    totals = verdicts["expected_totals"]
    assert totals.actual == "3 of 5 totals differ"
    assert totals.examples[0] == {"total": "rows", "expected": 8_000, "actual": 7_972, "tolerance": 0.0}
    assert totals.examples[1]["total"] == "sum of latitude"
    assert totals.examples[2]["actual"] == "no column nowhere"


@pytest.fixture
def gpio(tmp_path: Path) -> Callable[[Path], bool]:
    """Ask geoparquet-io about a file, offline: DuckDB's extension lies where it looks for installed ones."""
    program = Path(sys.executable).with_name("gpio")
    if not program.is_file():
        pytest.skip("geoparquet-io is not installed")
    with duckdb_engine.connect() as connection:
        (platform,) = connection.execute("PRAGMA platform").fetchone() or ("",)
    extensions = tmp_path / "home" / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform
    extensions.mkdir(parents=True)
    (extensions / "spatial.duckdb_extension").symlink_to(duckdb_engine.extension_path("spatial"))

    def asked(data: Path) -> bool:
        answer = subprocess.run(
            [program, "check", "all", str(data)],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
            env=os.environ | {"HOME": str(tmp_path / "home")},
        )
        assert "checks passed" in answer.stdout or "failed" in answer.stdout, answer.stdout + answer.stderr
        return answer.returncode == 0 and "failed" not in answer.stdout

    return asked


def test_gpio_and_our_conformance_agree(declare: Declare, tmp_path: Path, gpio: Callable[[Path], bool]) -> None:
    dataset = declare(key=["id"])
    squares = geopandas.GeoDataFrame(
        {"id": range(50)}, geometry=[shapely.box(-80 + n, 45, -79.5 + n, 46) for n in range(50)], crs=4326
    )
    squares.to_file(tmp_path / "squares.gpkg")
    done = build(dataset, VINTAGE, [tmp_path / "squares.gpkg"], tmp_path / "out")

    def both(data: Path) -> tuple[Outcome, bool]:
        verdict = judged(Build({"": data}, done.profile, done.summary, {}), dataset, tmp_path)["geoparquet_conformance"]
        return verdict.outcome, gpio(data)

    assert both(done.data) == (Outcome.PASS, True)
    # Types that occur are not stated: what only a look at the rows can find.
    table = pq.read_table(done.data)
    geo = table.schema.metadata[b"geo"].replace(b'["Polygon"]', b'["Point"]')
    broken = tmp_path / "broken.parquet"
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), broken, compression="zstd")
    assert both(broken) == (Outcome.FAILURE, False)


def test_geoparquet_2_and_a_projected_crs_pass(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    for processing in ({"geoparquet": "2.0"}, {"crs_out": "EPSG:3347"}):
        dataset = with_checks(declare(key=["pruid"], **processing), CANADA)
        done = build(dataset, VINTAGE, [fixtures / PROVINCES], tmp_path / "out")
        verdicts = judged(done, dataset, tmp_path)
        assert {each.check: (each.actual, each.examples) for each in verdicts.values() if each.outcome} == {}
    # The declared extent is taken into the CRS of the file: without Nunavut's north, it is left.
    cut = with_checks(dataset, CANADA | {"north": 70.0})
    verdict = judged(done, cut, tmp_path)["geometry_valid"]
    assert verdict.outcome is Outcome.FAILURE
    assert "62" in [example["pruid"] for example in verdict.examples]
