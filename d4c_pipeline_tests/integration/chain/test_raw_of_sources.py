"""What `raw` retains of sources that repack, of which only the source knows the files, that break under way."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import processed, raw
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import with_source_words
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.ckan import described
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.watch.vintages import served_vintages
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.declarations import a_dataset
from d4c_pipeline_tests.support.feature_server import LAYER, FeatureServer, ridings

ANALYTICS = "2916fad5-ebcc-4c86-b0f3-4f619b29f412"
HOST = "https://data.example.ca"
V2024 = Vintage.parse("2024")


def dataset(source: dict[str, Any], vintages: Any = ("2024",)) -> Dataset:
    return a_dataset(
        "stops",
        name={"package": "d4c-datapkg-foundation"},
        license="cc-by-4.0",
        vintages=vintages,
        source=source,
        processing={"kind": "table"},
    )


@pytest.fixture
def origin() -> Iterator[o.Origin]:
    with o.serving(o.Origin(o.good, body=zipped(1))) as running:
        yield running


@pytest.fixture
def deployment(tmp_path: Path, origin: o.Origin) -> Iterator[Deployment]:
    origins = {HOST: origin.url, "https://open.canada.ca": origin.url}
    with Deployment.open(Settings(home=tmp_path / "home", origins=origins)) as opened:
        yield opened


def zipped(day: int, data: bytes = b"id,name\n1,a\n" * 1000) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("stops.csv", (2024, 1, day, 0, 0, 0)), data)
    return buffer.getvalue()


def stored(deployment: Deployment) -> list[str]:
    root = deployment.settings.home / "store" / "raw"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_zip_that_is_rebuilt_every_night_stays_the_first_one(deployment: Deployment, origin: o.Origin) -> None:
    declared = dataset({"kind": "http", "urls": [f"{HOST}/stops.zip"]})
    first = raw.retain(deployment, declared, V2024).natives[0]
    origin.body, origin.etag = zipped(2), '"v2"'
    again = raw.retain(deployment, declared, V2024).natives[0]
    assert (again.sha256, again.address) == (first.sha256, first.address)
    assert len(stored(deployment)) == 1
    before = origin.sent
    assert raw.retain(deployment, declared, V2024).fetched == 0
    assert origin.sent == before, "the new validator is known"
    origin.body, origin.etag = zipped(3, b"id,name\n1,b\n" * 1000), '"v3"'
    assert raw.retain(deployment, declared, V2024).natives[0].sha256 != first.sha256
    assert len(stored(deployment)) == 2


def test_a_rebuilt_zip_makes_no_vintage(deployment: Deployment, origin: o.Origin, monkeypatch: Any) -> None:
    declared = dataset({"kind": "http", "urls": [f"{HOST}/stops.zip"]}, "discovered")

    def listed() -> list[str]:
        source = open_source(declared, deployment.settings.origins)
        return [str(vintage) for vintage in served_vintages(deployment, declared, source)]

    def suffixes(handler: o.Handler, _: int) -> None:
        asked = handler.headers.get("Range", "")
        total = len(handler.body)
        if asked.startswith("bytes=-"):
            first = max(0, total - int(asked[7:]))
            handler.reply(206, handler.body[first:], Content_Range=f"bytes {first}-{total - 1}/{total}")
        else:
            handler.whole()

    origin.behaviour = suffixes
    assert listed() == ["2024-05-04"]
    raw.retain(deployment, declared, Vintage.parse("2024-05-04"))
    monkeypatch.setattr(o, "DATE", "Sun, 05 May 2024 23:30:00 GMT")
    origin.body, origin.etag = zipped(2), '"v2"'
    assert listed() == ["2024-05-04"]
    left = raw.retain(deployment, declared, Vintage.parse("2024-05-04"))
    assert (left.fetched, left.fingerprint is not None) == (0, True)
    origin.body = zipped(3, b"id,name\n1,b\n" * 1000)
    assert listed() == ["2024-05-05"]


def test_files_that_only_the_source_knows_are_one_delivery(deployment: Deployment, origin: o.Origin) -> None:
    package = {
        "metadata_modified": "2024-05-04T12:30:00",
        "resources": [{"id": name, "url": f"{HOST}/{name}.zip", "format": "ZIP"} for name in ("a", "b")],
    }
    origin.documents = {"/data/api/3/action/package_show": {"success": True, "result": package}}
    declared = dataset({"kind": "ckan", "package": "p"}, "discovered")
    vintage = Vintage.parse("2024-05-04T1230")
    names = [native.name for native in raw.retain(deployment, declared, vintage).natives]
    assert names == ["a.zip", "b.zip", "ckan_package.json"]
    assert raw.retain(deployment, declared, vintage).fetched == 1, "only the page about it"
    del package["resources"][0]
    raw.retain(deployment, declared, vintage)
    current = deployment.ledger.natives.current("stops", vintage)
    assert [native.name for native in current] == ["b.zip", "ckan_package.json"]
    assert len(stored(deployment)) == 4, "what the source took away stays retained"


def test_what_a_portal_says_in_both_languages_is_kept_with_the_vintage(
    deployment: Deployment, origin: o.Origin, fixtures: Path
) -> None:
    package = json.loads((fixtures / f"10_ckan_open_canada/package_{ANALYTICS}.json").read_text("utf-8"))
    origin.documents = {"/data/api/3/action/package_show": {"success": True, "result": package}}
    origin.body = b"a,b\n1,2\n"
    declared = dataset(
        {"kind": "ckan", "package": ANALYTICS, "formats": ["csv"], "name": "*top100datasets*"}, "discovered"
    )
    vintage = Vintage.parse("2025-12-15T1140")
    assert deployment.ledger.natives.description("stops", vintage) is None
    raw.retain(deployment, declared, vintage)
    said = deployment.ledger.natives.description("stops", vintage)
    assert said == described(package)
    told = with_source_words(declared, said)
    assert package["title_translated"]["en"] in told.description.en
    assert package["title_translated"]["fr"] in told.description.fr
    assert set(package["keywords"]["fr"]) <= set(told.keywords.fr)


def test_what_a_failed_run_left_is_gone_on_with(deployment: Deployment, origin: o.Origin) -> None:
    origin.body = o.payload()
    urls = [f"{HOST}/a.zip", f"{HOST}/b.zip"]
    timeouts = {"read": 0.2}
    declared = dataset({"kind": "http", "urls": urls, "timeouts": timeouts})

    def breaks(handler: o.Handler, _: int) -> None:
        if "a.zip" in handler.path:
            handler.whole()
        elif "If-Range" not in handler.headers:
            handler.part(o.CUT)
        else:
            handler.reply(503, Retry_After="3600")

    origin.behaviour = breaks
    with pytest.raises(TransientError, match="Try again in 3600 s"):
        raw.retain(deployment, declared, V2024)
    origin.behaviour = o.good
    before = origin.sent
    assert raw.retain(deployment, declared, V2024).fetched == 2
    assert origin.sent - before == len(origin.body) - o.CUT


def test_a_table_of_the_web_data_service_is_built_with_its_bilingual_metadata(
    deployment: Deployment, origin: o.Origin, fixtures: Path
) -> None:
    rest = f"{HOST}/t1/wds/rest"
    metadata = json.loads((fixtures / "08_statcan_wds/33100036.json").read_text("utf-8"))
    origin.body = (fixtures / "08_statcan_wds/33100036-eng.zip").read_bytes()
    origin.documents = {
        "/t1/wds/rest/getCubeMetadata": [{"status": "SUCCESS", "object": metadata}],
        "/t1/wds/rest/getFullTableDownloadCSV/33100036/en": {
            "status": "SUCCESS",
            "object": f"{HOST}/n1/tbl/csv/33100036-eng.zip",
        },
    }
    source = {"kind": "statcan_table", "table": "33-10-0036-01", "service": rest}
    declared = dataset(source, "discovered").model_copy(
        update={"processing": TableProcessing.model_validate({"kind": "table", "wds": {}})}
    )
    vintage = Vintage.parse("2025-06-11T1230")
    assert served_vintages(deployment, declared, open_source(declared, deployment.settings.origins)) == (vintage,)
    raw.retain(deployment, declared, vintage)
    summary = processed.process(deployment, declared, vintage).summary
    assert summary.rows == 90_086
    assert {"type_of_currency_en", "type_of_currency_fr"} <= {column.name for column in summary.columns}
    assert declared.source.derived_from(vintage) == (
        "https://www150.statcan.gc.ca/t1/tbl1/en/tv.action?pid=3310003601",
    )


def test_a_layer_of_a_feature_server_is_built(deployment: Deployment, fixtures: Path) -> None:
    server = FeatureServer(ridings(fixtures))
    with server.serving() as running:
        source = {"kind": "arcgis", "layer": f"{running.url}{LAYER}", "page_size": 20}
        declared = dataset(source, "discovered").model_copy(
            update={"processing": VectorProcessing.model_validate({"kind": "vector", "key": ["objectid"]})}
        )
        vintage = Vintage.parse("2024-05-04")
        raw.retain(deployment, declared, vintage)
    summary = processed.process(deployment, declared, vintage).summary
    assert (summary.rows, summary.crs) == (49, "EPSG:4326")
    assert {column.name: column.type for column in summary.columns}["objectid"] in ("int32", "int64")
