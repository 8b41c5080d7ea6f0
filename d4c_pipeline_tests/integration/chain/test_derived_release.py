"""A dataset that asks for every derived file, from its source to the catalogue: artifacts, versions, two homes."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyogrio
import pytest
from pmtiles.reader import MmapSource, Reader

from d4c_pipeline.chain.checksums import Plan, plan
from d4c_pipeline.chain.processed import process
from d4c_pipeline.commands.demo import serve
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.release import ArtifactRole, Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.publishing import publish_vintage
from d4c_pipeline.processing import apart
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import child_work
from d4c_pipeline_tests.support.declarations import declaration, write_definition

# What Dagster says of an attribute that the chain's assets read is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore:AssetExecutionContext:DeprecationWarning")

HOST = "data.example.org"
NAME = "ca_test_2021A000011124_d4c-datapkg-test_stops_2021_v0.1.0-beta"
ROWS = """id,name,opened,longitude,latitude
1,Montréal,1642-05-17,-73.5878,45.5088
2,"St. John's, NL",1583-08-05,-52.7126,47.5615
3,Nowhere,,,
4,Iqaluit,1942-01-01,-68.5170,63.7467
"""
STYLE = "<!DOCTYPE qgis>\n<qgis version='3.40'><renderer-v2 type='singleSymbol'/></qgis>\n"

Publish = Callable[..., dict[str, Any]]


def declared(max_zoom: int, *, csv: bool) -> dict[str, Any]:
    return declaration(
        "derived_stops",
        name={"theme": "stops"},
        title={"en": "Stops", "fr": "Arrêts"},
        description={"en": "Stops of a test.", "fr": "Arrêts d'un essai."},
        source={"kind": "http", "urls": [f"https://{HOST}/stops.csv"]},
        processing={"kind": "vector", "key": ["id"], "longitude": "longitude", "latitude": "latitude"},
        outputs={
            "tiles": {"attributes": ["name"], "layer": "stops", "max_zoom": max_zoom},
            "desktop": ["geopackage", "flatgeobuf"],
            "style": "style.qml",
            "csv": csv,
            "thumbnail": True,
        },
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Publish the dataset in a home of that name, with `yaml` in place of the definition of the last call."""
    folder = tmp_path / "defs" / "derived_stops"
    folder.mkdir(parents=True)
    (folder / "style.qml").write_text(STYLE, "utf-8")
    write_definition(folder / "defs.yaml", declared(6, csv=True))
    (tmp_path / "web" / HOST).mkdir(parents=True)
    (tmp_path / "web" / HOST / "stops.csv").write_text(ROWS, "utf-8")
    monkeypatch.setenv("D4C_PORT", str(_free_port()))
    monkeypatch.setenv("D4C_DEFS", str(tmp_path / "defs"))
    with serve(tmp_path / "web") as origins:
        monkeypatch.setenv("D4C_ORIGIN_MAP", ",".join(f"{old}={new}" for old, new in origins.items()))

        def run(home: str = "home") -> dict[str, Any]:
            monkeypatch.setenv("D4C_HOME", str(tmp_path / home))
            settings = Settings.from_environment()
            datasets = load_datasets(settings.definitions)
            return publish_vintage(settings, datasets["derived_stops"], "2021", [datasets["derived_stops"]])

        yield run


def newest(home: Path) -> Release:
    with Deployment.open(Settings(home=home)) as deployment:
        return deployment.ledger.releases.published("derived_stops")[-1]


def process_and_plan(tmp_path: Path) -> Plan:
    dataset = load_datasets([tmp_path / "defs"])["derived_stops"]
    with Deployment.open(Settings(home=tmp_path / "home")) as deployment:
        process(deployment, dataset, dataset.vintage("2021"))
        return plan(deployment, dataset, dataset.vintage("2021"))


def folder_of(home: Path, version: str = "0.1.0-beta") -> Path:
    return home / "store" / "releases" / "derived_stops" / "2021" / f"v{version}"


def test_every_file_that_is_asked_for_is_an_artifact_that_readers_open(publish: Publish, tmp_path: Path) -> None:
    first = publish()
    assert (first["outcome"], first["version"]) == ("published", "0.1.0-beta")
    release, folder = newest(tmp_path / "home"), folder_of(tmp_path / "home")
    made = {a.name.removeprefix(NAME): (a.role, a.media_type) for a in release.artifacts if a.name.startswith(NAME)}
    assert made == {
        ".parquet": (ArtifactRole.DATA, "application/vnd.apache.parquet"),
        ".pmtiles": (ArtifactRole.TILES, "application/vnd.pmtiles"),
        ".gpkg": (ArtifactRole.DESKTOP, "application/geopackage+sqlite3"),
        ".fgb": (ArtifactRole.DESKTOP, "application/vnd.flatgeobuf"),
        ".csv.gz": (ArtifactRole.DESKTOP, "application/gzip"),
        "_thumbnail.png": (ArtifactRole.THUMBNAIL, "image/png"),
        ".parquet.torrent": (ArtifactRole.TORRENT, "application/x-bittorrent"),
    }
    # In the primary store, at the archive, in the list of checksums: the same bytes everywhere.
    listed = dict(reversed(line.split("  ")) for line in (folder / "checksums.sha256").read_text().splitlines())
    archived = {path.name: path for path in (tmp_path / "home" / "archive" / "records").rglob(f"{NAME}*")}
    for artifact in release.artifacts:
        content = (folder / artifact.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == artifact.sha256
        if artifact.role in {ArtifactRole.TILES, ArtifactRole.DESKTOP, ArtifactRole.THUMBNAIL}:
            assert listed[artifact.name] == artifact.sha256
            assert archived[artifact.name].read_bytes() == content
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    outputs = {output["name"].removeprefix(NAME): output.get("rows") for output in manifest["outputs"]}
    # FlatGeobuf's index and tiles have no place for the row without geometry, and the manifest says so.
    assert (outputs[".gpkg"], outputs[".fgb"], outputs[".csv.gz"], outputs[".pmtiles"]) == (4, 3, 4, None)
    assert manifest["summary"]["report"]["rows_left_out_of_files"] == {".fgb": 1, ".pmtiles": 1}
    readme = (folder / "README.md").read_text("utf-8")
    for suffix in (".fgb", ".pmtiles"):
        assert f"`{NAME}{suffix}` leaves out 1 of 4 rows, which have no geometry" in readme
        assert f"`{NAME}{suffix}` omet 1 des 4 enregistrements, sans géométrie" in readme
    assert manifest["derived"]["parameters"][".pmtiles"]["max_zoom"] == 6
    assert manifest["derived"]["tools"].keys() == {"tippecanoe"}
    assets = json.loads((folder / "item.json").read_text("utf-8"))["assets"]
    assert {key: asset["roles"] for key, asset in assets.items() if "metadata" not in asset["roles"]} == {
        "data": ["data"],
        "torrent": ["torrent"],
        "tiles": ["visual", "tiles"],
        "geopackage": ["data", "desktop"],
        "flatgeobuf": ["data", "desktop"],
        "csv": ["data", "desktop"],
        "thumbnail": ["thumbnail"],
    }
    assert pq.read_table(tmp_path / "home" / "store" / "catalogue" / "stac.parquet").num_rows == 1
    assert pyogrio.read_info(folder / f"{NAME}.gpkg", layer="derived_stops")["features"] == 4
    assert gzip.decompress((folder / f"{NAME}.csv.gz").read_bytes()).decode("utf-8-sig").count("\r\n") == 5
    with (folder / f"{NAME}.pmtiles").open("rb") as file:
        assert Reader(MmapSource(file)).metadata()["vector_layers"] == [
            {"id": "stops", "description": "", "minzoom": 0, "maxzoom": 6, "fields": {"name": "String"}}
        ]


def test_the_same_again_is_unchanged_and_another_home_makes_the_same_files(publish: Publish, tmp_path: Path) -> None:
    publish()
    assert publish()["outcome"] == "unchanged"
    publish("another home")
    # What names addresses differs between homes, and so does the list of those files' checksums.
    one, two = (
        {
            a.name: a.sha256
            for a in newest(tmp_path / home).artifacts
            if a.role not in {"torrent", "metadata", "readme", ArtifactRole.CHECKSUMS_REST}
        }
        for home in ("home", "another home")
    )
    assert len(one) == 10
    assert one == two


def test_other_wishes_over_the_same_data_are_a_patch_and_another_tool_is_none(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    definition = tmp_path / "defs" / "derived_stops"
    write_definition(definition / "defs.yaml", declared(7, csv=False))
    second = publish()
    assert (second["outcome"], second["version"]) == ("published", "0.1.1-beta")
    assert second["reasons"] == ["derived file .csv.gz is no longer made", "derived file .pmtiles is made otherwise"]
    folder = folder_of(tmp_path / "home", "0.1.1-beta")
    assert not list(folder.glob("*.csv.gz"))
    # What is strictly the latest has the derived files too, and not the one that is no longer made.
    processed = tmp_path / "home" / "store" / "processed"
    stem = NAME.removesuffix("_v0.1.0-beta")
    suffixes = {".parquet", ".pmtiles", ".gpkg", ".fgb", "_thumbnail.png"}
    assert {path.name: path.read_bytes() for path in processed.iterdir()} == {
        f"{stem}{suffix}": (folder / f"{stem}_v0.1.1-beta{suffix}").read_bytes() for suffix in suffixes
    }
    # The data is the same bytes, and what nobody changed is as well.
    first = folder_of(tmp_path / "home")
    for suffix, same in {".parquet": True, ".gpkg": True, ".pmtiles": False}.items():
        before, after = (next(place.glob(f"*beta{suffix}")).read_bytes() for place in (first, folder))
        assert (before == after) is same

    with monkeypatch.context() as patched:
        patched.setattr(apart, "make", child_work.make_with_another_gdal)
        planned = process_and_plan(tmp_path)
    assert (planned.unchanged, planned.change.reasons) == (True, ())

    definition.joinpath("style.qml").write_text(STYLE.replace("single", "categorized"), "utf-8")
    planned = process_and_plan(tmp_path)
    assert (str(planned.release.version), planned.unchanged) == ("0.1.2-beta", False)
    assert planned.change.reasons == ("derived file .gpkg is made otherwise",)
    # A plan holds the files that it was made with: the next style takes its place under the same version.
    definition.joinpath("style.qml").write_text(STYLE.replace("single", "graduated"), "utf-8")
    again = process_and_plan(tmp_path)
    assert (again.release.version, again.release.id) == (planned.release.version, planned.release.id + 1)

    definition.joinpath("style.qml").unlink()
    with pytest.raises(DefinitionError, match=r"The style .*style\.qml can't be read.*Put the \.qml file beside"):
        process_and_plan(tmp_path)
    # It stopped before the build: the last one still counts.
    with closing(Ledger.in_folder(tmp_path / "home")) as ledger:
        assert ledger.builds.current("derived_stops", Vintage.parse("2021")) is not None
