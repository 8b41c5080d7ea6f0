"""Real documents about data, and the facts read out of them."""

from __future__ import annotations

import json
from pathlib import Path

from lxml import etree

from d4c_pipeline.drafting import addresses
from d4c_pipeline.drafting.about import arcgis, ckan, codebook, cube, dcat, hnap, reading

PORTAL = "https://open.canada.ca/data"


def record(fixtures: Path, name: str) -> hnap.Facts:
    return hnap.facts(etree.parse(fixtures / "11_iso19115_hnap" / name).getroot())


def test_a_record_of_hnap_in_both_languages(fixtures: Path) -> None:
    facts = record(fixtures, "lfsa000b21a_e.xml")
    assert facts["title.en"].value == "2021 Census - Boundary files"
    assert facts["title.fr"].value == "Recensement de 2021 - Fichiers des limites"
    assert facts["license"].value == "ogl-canada-2.0"
    assert facts["creators"].value[0]["name_fr"] == "Statistique Canada"
    assert facts["vintage"].value == "2021"
    assert facts["publication.frequency"].value == "irregular"
    assert facts["extent"].value == {"west": -143.0, "south": 41.0, "east": -52.0, "north": 84.0}
    assert facts["languages"].value == ["eng", "fra"]
    assert facts["keywords"].value["fr"] == [
        "Limites",
        "Données géographiques",
        "Statistiques",
        "Frontière",
        "Recensement",
    ]


def test_a_record_without_a_party_has_the_publisher_of_its_data_and_no_licence(fixtures: Path) -> None:
    facts = record(fixtures, "open.canada.ca/63a40754-28a0-4fdc-8e6e-c56854e16dec.xml")
    assert facts["creators"].value[0]["name"] == "Agriculture and Agri-Food Canada"
    assert "www.agr.gc.ca" in facts["creators"].evidence
    assert "license" not in facts  # the record says only that there is one
    assert facts["processing.kind"].value == "vector"


def test_a_package_of_open_canada(fixtures: Path) -> None:
    path = fixtures / "10_ckan_open_canada" / "package_e27c6eba-3c5d-4051-9db2-082dc6411c2c.json"
    facts = ckan.facts(json.loads(path.read_text("utf-8")), PORTAL)
    assert facts["title.en"].value == "Canadian Geographical Names - CGN"
    assert facts["license"].value == "ogl-canada-2.0"
    assert facts["publication.frequency"].value == "P1W"
    assert facts["creators"].value[0]["name_fr"] == "Ressources naturelles Canada"
    assert facts["extent"].value == {"west": -141.0027151, "south": 41.0, "east": -52.0, "north": 84.0}
    assert facts["name.region"].value == "ca"
    # Its data are folders of a file server and services without the number of a layer: none is one file.
    assert addresses.choose(facts["address"].value).chosen is None


def test_data_are_chosen_before_documents(fixtures: Path) -> None:
    path = fixtures / "10_ckan_open_canada" / "package_2916fad5-ebcc-4c86-b0f3-4f619b29f412.json"
    choice = addresses.choose(ckan.facts(json.loads(path.read_text("utf-8")), PORTAL)["address"].value)
    assert choice.chosen is not None
    assert choice.chosen["url"].endswith("opendataportal.siteanalytics.totalmonthlyusage.bilingual.csv")
    assert choice.evidence == "the first of 17 with the format CSV of 20 listed files"


def test_a_table_of_statistics_canada(fixtures: Path) -> None:
    facts = cube.facts(json.loads((fixtures / "08_statcan_wds" / "18100204.json").read_text("utf-8")))
    assert facts["title.fr"].value == "Indice des prix de vente de l'énergie électrique, mensuel"
    assert facts["publication.frequency"].value == "P1M"
    assert facts["license"].value == "statcan-open-licence"
    assert (facts["id"].value, facts["name.region"].value) == ("statcan_table_18100204", "ca")


def test_a_layer_names_its_fields_and_its_licence() -> None:
    facts = arcgis.facts(
        {
            "name": "Parks",
            "copyrightText": "Open Government Licence – Toronto",
            "geometryType": "esriGeometryPoint",
            "fields": [{"name": "PRK_NM", "alias": "Name of the park"}, {"name": "AREA", "alias": "Area"}],
            "indexes": [{"fields": "PRK_ID", "isUnique": True}],
        }
    )
    assert facts["license"].value == "ogl-toronto"
    assert facts["columns.PRK_NM.en"].value == "Name of the park"
    assert "columns.AREA.en" not in facts  # the alias is the name again
    assert facts["key_hint"].value == ["prk_id"]
    # A layer that only contains what is under a licence may itself be under another.
    credit = "Contains information licensed under the Open Government Licence – Toronto"
    assert "license" not in arcgis.facts({"name": "Parks", "copyrightText": credit})


def test_a_dataset_of_dcat() -> None:
    facts = dcat.facts(
        {
            "title": "Arbres",
            "language": ["fr"],
            "license": "https://creativecommons.org/licenses/by/4.0/",
            "publisher": {"name": "Ville de Montréal"},
            "accrualPeriodicity": "R/P1Y",
            "distribution": [{"downloadURL": "https://donnees.example.ca/arbres.csv", "format": "CSV"}],
        }
    )
    assert facts["title.fr"].value == "Arbres"
    assert "title.en" not in facts
    assert (facts["license"].value, facts["publication.frequency"].value) == ("cc-by-4.0", "P1Y")
    assert facts["address"].value[0]["format"] == "csv"


def test_a_codebook_in_both_languages() -> None:
    text = "Field Name,Description,Description_FR\nPRUID,Province code,Code de la province\nX,,\n"
    facts = codebook.facts(text, "codebook.csv")
    assert {path: found.value for path, found in facts.items()} == {
        "columns.PRUID.en": "Province code",
        "columns.PRUID.fr": "Code de la province",
    }


def test_markup_and_line_ends_of_a_record_stay_out(tmp_path: Path) -> None:
    document = {
        "title": "A\u2028<script>alert(1)</script> title",
        "license_title": "x\n# owner: mallory",
        "resources": [],
        "metadata_modified": "2024-01-01",
    }
    path = tmp_path / "package.json"
    path.write_text(json.dumps(document), "utf-8")
    facts = reading.facts_of(path, PORTAL)
    assert facts["title.en"].value == "A title"
    assert "\n" not in facts["license"].value["title"]["en"]


def test_an_entity_of_a_record_is_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mallory")
    path = tmp_path / "record.xml"
    path.write_text(
        f'<!DOCTYPE m [<!ENTITY x SYSTEM "file://{secret}">]><metadata><idinfo><citation><citeinfo>'
        "<title>T &x;</title></citeinfo></citation></idinfo></metadata>"
    )
    assert "mallory" not in str(reading.facts_of(path))


JUNK = (None, 1, "x", [], {}, ["a"], {"en": 1}, [None], [[]], {"a": {"b": []}}, True, [{}])


def test_documents_with_fields_of_other_types_are_read_without_them(fixtures: Path) -> None:
    path = fixtures / "10_ckan_open_canada" / "package_c088f841-2d79-4c7e-9281-cc65cbae1b06.json"
    package = json.loads(path.read_text("utf-8"))
    table = json.loads((fixtures / "08_statcan_wds" / "18100204.json").read_text("utf-8"))
    for junk in JUNK:
        for field in package:
            addresses.choose(ckan.facts({**package, field: junk}, PORTAL)["address"].value)
            ckan.facts({**package, "license_id": "own", field: junk}, PORTAL)
        for field in ("cubeTitleEn", "cubeTitleFr", "frequencyCode", "archiveStatusCode", "dimension"):
            assert cube.facts({**table, field: junk})["license"].value == "statcan-open-licence"
        for field in ("fields", "indexes", "copyrightText", "name", "geometryType"):
            arcgis.facts({"objectIdField": "ID", field: junk})
        for field in ("title", "language", "license", "keyword", "publisher", "distribution", "landingPage"):
            dcat.facts({"distribution": [], field: junk})
