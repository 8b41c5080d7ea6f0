"""Drafts of real files and of services over real data: what they fill, what they leave, and that they run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d4c_pipeline.chain.raw import retain
from d4c_pipeline.drafting import Draft, draft
from d4c_pipeline.model import gaps
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, DefinitionError, SourceError, StorageError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.s3 import FakeS3, let_all_read
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.feature_server import LAYER, FeatureServer, ridings
from d4c_pipeline_tests.support.samples import Origin

REST = "/t1/wds/rest"
FSA = Path("09_statcan_dbf_encodings", "lfsa000b21a_e.dbf")
RECORD = Path("11_iso19115_hnap", "lfsa000b21a_e.xml")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_a_file_with_its_record(fixtures: Path, settings: Settings, tmp_path: Path) -> None:
    made = draft(fixtures / FSA, settings, metadata=fixtures / RECORD, identifier="fsa_2021", package="statistical")
    values = {path: field.value for path, field in made.fields.items()}
    assert (values["vintages"], values["processing.key"]) == (["2021"], ["cfsauid"])
    assert values["processing.dguids"] == [{"column": "dguid"}]
    assert values["processing.columns.landarea"] == {"source": "LANDAREA", "type": "float"}
    assert (values["license"], values["name.region"], made.rows) == ("ogl-canada-2.0", "ca", 1643)
    assert made.fields["processing.key"].evidence.startswith("1,643 rows, 1,643 values of cfsauid, none null")
    assert made.gaps == ()
    # The written draft is a definition like any other, and each field has its evidence above it.
    written = made.write(tmp_path / "defs")
    assert load_datasets([tmp_path / "defs"])["fsa_2021"].title.fr == "Recensement de 2021 - Fichiers des limites"
    assert "# useLimitation of the record: Open Government Licence - Canada" in written.read_text("utf-8")
    with pytest.raises(StorageError, match="exists already"):
        made.write(tmp_path / "defs")


def test_what_no_source_states_is_a_gap_and_is_not_published(
    fixtures: Path, settings: Settings, tmp_path: Path
) -> None:
    made = draft(fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv", settings, with_sql=True)
    values = {path: field.value for path, field in made.fields.items()}
    assert (values["processing.longitude"], values["processing.nulls"]) == ("Longitude", [".."])
    assert (values["processing.key"], made.rows) == (["index"], 7972)
    assert values["license"] == values["title.en"] == values["name.dguid"] == gaps.TO_FILL
    assert "DGUID of the area" in next(gap.sentence for gap in made.gaps if gap.field == "name.dguid")
    made.write(tmp_path / "defs")
    assert '  "Facility_Name",\n' in (tmp_path / "defs" / made.id / "transform.sql").read_text("utf-8")
    with pytest.raises(DefinitionError, match=r"is a draft: .*license"):
        gaps.refuse(load_datasets([tmp_path / "defs"])[made.id])


def test_a_table_is_drafted_whole_and_its_source_is_fetched(fixtures: Path, tmp_path: Path) -> None:
    folder = fixtures / "08_statcan_wds"
    metadata = json.loads((folder / "18100204.json").read_text("utf-8"))
    origin = o.Origin(o.good, body=(folder / "18100204-eng.zip").read_bytes())
    origin.documents = {
        f"{REST}/getCubeMetadata": [{"status": "SUCCESS", "object": metadata}],
        f"{REST}/getFullTableDownloadCSV/18100204/en": {
            "status": "SUCCESS",
            "object": "https://www150.statcan.gc.ca/n1/tbl/csv/18100204-eng.zip",
        },
    }
    with o.serving(origin):
        settings = Settings(home=tmp_path / "home", origins={"https://www150.statcan.gc.ca": origin.url})
        made = draft("https://www150.statcan.gc.ca/t1/tbl1/fr/tv.action?pid=1810020401", settings)
        assert made.gaps == ()
        assert (made.rows, made.fields["processing.key"].value) == (11_804, ["ref_date", "coordinate"])
        assert made.fields["processing.wds"].value == {}
        made.write(tmp_path / "defs")
        dataset = load_datasets([tmp_path / "defs"])["statcan_table_18100204"]
        with Deployment.open(settings, archive=False) as deployment:
            kept = retain(deployment, dataset, Vintage.parse("2018-12-11T1330"))
    assert [native.name for native in kept.natives] == ["18100204-eng.zip", "18100204.json"]


def test_a_layer(fixtures: Path, tmp_path: Path) -> None:
    host = "https://gis.example.ca"
    with FeatureServer(ridings(fixtures)).serving() as origin:
        settings = Settings(home=tmp_path / "home", origins={host: origin.url})
        made = draft(f"{host}{LAYER}", settings, package="foundation")
    assert made.fields["title.fr"].value == "to translate: PED 2024"
    assert made.fields["processing.key"].value == ["dist_id"]
    assert made.fields["name.package"].value == "d4c-datapkg-foundation"
    assert made.bounds is not None
    assert -70 < made.bounds[0] < made.bounds[2] < -63
    assert "Translate the text to French" in str(made.gaps)


def test_a_zip_states_its_licence(fixtures: Path, tmp_path: Path) -> None:
    origin = Origin(tmp_path / "origin")
    url = "https://geonb.snb.ca/downloads/geonb_2024_ped-cep_shp.zip"
    origin.put(url, fixtures / "03_geonb_ridings_2024" / "geonb_2024_ped_cep_shp.zip")
    try:
        made = draft(url, Settings(home=tmp_path / "home", origins=origin.origins))
    finally:
        origin.close()
    assert made.fields["license"].value["title"]["fr"] == "Licence des données ouvertes de GeoNB"
    assert (made.fields["name.region"].value, made.fields["name.dguid"].value) == ("ca-nb", "2021A000213")
    assert (made.fields["vintages"].value, made.rows) == (["2024"], 49)


def test_a_stranger_names_neither_a_private_address_nor_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    origin = o.Origin(o.good, body=b"id\n1\n")
    origin.documents = {"/api/3/action/package_show": {"success": True, "result": {}}}
    with o.serving(origin):
        port = origin.url.rpartition(":")[2]
        # A name that resolves to a private address is refused at the connection, whatever an earlier lookup said.
        for source in (
            f"http://localhost:{port}/a.csv",
            f"http://localhost:{port}/dataset/x",
            f"{origin.url}/rest/services/A/MapServer/1",
            "http://169.254.169.254/latest/meta-data",
            str(tmp_path / "a.csv"),
        ):
            with pytest.raises(SourceError, match=r"no public address|path of this machine"):
                draft(source, settings, public_only=True)
        assert (origin.asked, origin.requests) == ([], 0)


def test_data_that_the_platform_does_not_read_are_refused_with_the_reason(fixtures: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match="gridded data, which is not read"):
        draft(fixtures / "17_gridded" / "basin_mask.nc", settings)


def test_a_prefix_of_a_bucket(moto: FakeS3, settings: Settings) -> None:
    client = moto.client()
    client.create_bucket(Bucket="drafts")
    let_all_read(client, "drafts")
    rows = "".join(f"{number},Park {number}\n" for number in range(9))
    client.put_object(Bucket="drafts", Key="parks/parks_2024.csv", Body=f"park_id,name\n{rows}".encode())
    client.put_object(Bucket="drafts", Key="parks/notes.csv", Body=b"note\nx\n")
    made = draft("s3://drafts/parks/", settings, endpoint=moto.url)
    assert made.fields["source"].value == {
        "kind": "s3", "bucket": "drafts", "prefix": "parks/", "endpoint": moto.url,
    }  # fmt: skip
    assert (made.fields["processing.key"].value, made.rows) == (["park_id"], 9)
    assert made.fields["processing.member"].value == "parks_2024.csv"
    assert "the largest of 2 files" in made.fields["processing.member"].evidence
    assert made.fields["vintages"].value == "discovered"


def test_what_no_definition_may_have_becomes_a_note(settings: Settings, tmp_path: Path) -> None:
    package = {
        "id": "trees",
        "title": "Trees",
        "license_title": "Terms of Example",
        "license_url": "https://example.org/terms?token=abc&x=a b",
        "frequency": "P100D",
        "jurisdiction": "federal",
        "metadata_modified": "2024-05-06",
        "resources": [{"id": "1", "format": "CSV", "url": "https://example.org/trees.csv"}, "text", None],
        "keywords": [["x"]],
        "spatial": "nowhere",
    }
    (tmp_path / "package.json").write_text(json.dumps(package))
    made = draft(tmp_path / "package.json", settings, read=False)
    assert made.fields["title.en"].value == "Trees"
    assert made.fields["license"].value == gaps.TO_FILL
    assert "publication.frequency" not in made.fields
    assert "left out, not valid: publication.frequency: P100D" in made.notes
    assert load_written(made, tmp_path).title.en == "Trees"


def load_written(made: Draft, folder: Path) -> Dataset:
    made.write(folder / "written")
    return load_datasets([folder / "written"])[made.id]


def test_a_large_source_is_drafted_without_its_data(fixtures: Path, settings: Settings) -> None:
    made = draft(fixtures / FSA, settings, most_bytes=1000)
    assert made.rows is None
    assert "more than the 1,000 that a draft reads" in made.fields["processing.kind"].evidence
