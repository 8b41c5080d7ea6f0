"""Records in XML: valid against the schemas of their standards, whatever a release holds, with the right values."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from d4c_pipeline.metadata.published import Place, PublishedMetadata
from d4c_pipeline.metadata.records import topics as topics_module
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.metadata.records.topics import topics
from d4c_pipeline.metadata.records.xml_document import element, xml_document
from d4c_pipeline.metadata.records.xml_document import given as given_element
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.credits import Contributor, Funding, Party
from d4c_pipeline.model.dataset import BilingualKeywords
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.release import Withdrawal
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, SITE, a_published, hostile
from d4c_pipeline_tests.support.schemas import iso_rules, schema_errors, standards

XML = ("datacite_xml", "dif", "fgdc", "iso19115_3", "iso19139", "iso19139_hnap", "oai_dc")
NAMES = {
    "cit": "http://standards.iso.org/iso/19115/-3/cit/2.0",
    "d": "http://datacite.org/schema/kernel-4",
    "dc": "http://purl.org/dc/elements/1.1/",
    "dif": "http://gcmd.gsfc.nasa.gov/Aboutus/xml/dif/",
    "gco": "http://www.isotc211.org/2005/gco",
    "gex": "http://standards.iso.org/iso/19115/-3/gex/1.0",
    "gmd": "http://www.isotc211.org/2005/gmd",
    "gml": "http://www.opengis.net/gml/3.2",
    "lan": "http://standards.iso.org/iso/19115/-3/lan/1.0",
    "mco": "http://standards.iso.org/iso/19115/-3/mco/1.0",
    "mrd": "http://standards.iso.org/iso/19115/-3/mrd/1.0",
    "mri": "http://standards.iso.org/iso/19115/-3/mri/1.0",
    "xml": "http://www.w3.org/XML/1998/namespace",
}
BOTH = Bilingual(en="Electoral ridings", fr="Circonscriptions électorales")
PEOPLE: Mapping[str, Any] = {
    "creators": (
        Party(name="Curie, Marie", orcid="0000-0002-1825-0097", affiliation="Université de Paris"),
        Party(name="Ville de Québec", ror="https://ror.org/05k71ja87", url="https://www.ville.quebec.qc.ca/?a=1&b=<2>"),
        Party(name="Plato", type="person"),
    ),
    "contributors": (
        Contributor(name="Doe, Jane", type="person", role="datacurator", email="jane@example.ca"),
        Contributor(name="Office & Sons", role="sponsor"),
        Contributor(name="Help desk", role="contactperson", email="help@example.ca"),
    ),
    "funding": (
        Funding(funder="SSHRC", ror="05k71ja87", number="435-2020-1", title=BOTH, url="https://x.example.ca/"),
    ),
    "languages": ("fra", "iku"),
    "keywords": BilingualKeywords(en=("roads", "ferries"), fr=("routes",)),
}
WITHDRAWN_AT = datetime(2026, 12, 1, tzinfo=UTC)
CITY_LICENCE = DeclaredLicence(title=BOTH, url="https://city.example.ca/licence?x=1&y=2", text="Use it.")


@cache
def _cases() -> dict[str, PublishedMetadata]:
    return {
        "plain": a_published(),
        **hostile(),
        "people": a_published(**PEOPLE),
        "licence of a city": a_published(license=CITY_LICENCE),
        "withdrawn": replace(a_published(), frequency="P1Y", withdrawn=Withdrawal(WITHDRAWN_AT, "Wrong values <1>")),
        "no keywords": a_published(keywords=BilingualKeywords()),
        "no contact": a_published(site=replace(SITE, contact=None)),
        "contact by web": a_published(site=replace(SITE, contact="https://example.ca/contact")),
        "bare site": a_published(site=Site()),
        "named place": a_published(place=Place(origin="dguid", boxes=((-80.0, 40.0, -70.0, 50.0),), name=BOTH)),
        "minute": a_published(vintage="2025-06-04T1230"),
    }


def _parsed(name: str, published: PublishedMetadata) -> Any:
    return etree.fromstring(record_format(name).render(published))


def _found(name: str, published: PublishedMetadata, path: str) -> list[str]:
    return [str(value) for value in _parsed(name, published).xpath(path, namespaces=NAMES)]


@pytest.mark.parametrize("name", XML)
def test_every_record_is_valid_whatever_the_release_holds(name: str) -> None:
    for case, published in _cases().items():
        if name == "fgdc" and published.place is None:
            continue
        document = record_format(name).render(published)
        assert schema_errors(name, document) == [], case
        assert document == record_format(name).render(published)
        text = document.decode()
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", text)
        assert "alert(1)" not in text
        assert not re.search(r"https?://[^<]*[{}]", text)


@pytest.mark.parametrize("name", XML)
@settings(max_examples=25)
@given(text=st.text(min_size=1, max_size=200), other=st.text(min_size=1, max_size=60))
def test_any_text_gives_a_valid_record(name: str, text: str, other: str) -> None:
    published = replace(
        _cases()["plain"],
        description=Bilingual(en=f"A {text}", fr=f"É {other}"),
        attribution=Bilingual(en=text, fr=other),
        keywords=BilingualKeywords(en=(text,), fr=(other,)),
        providers=(Party(name=f"Office {other}"),),
    )
    assert schema_errors(name, record_format(name).render(published)) == []


@pytest.mark.parametrize("case", ["plain", "people", "no place", "superseded", "parts"])
def test_iso_19115_3_keeps_the_conditions_that_its_schemas_cannot_state(case: str) -> None:
    document = _parsed("iso19115_3", _cases()[case])
    assert [name for name, rules in iso_rules().items() if not rules.validate(document)] == []
    for topic in document.findall(".//mri:topicCategory", NAMES):
        topic.getparent().remove(topic)
    assert [name for name, rules in iso_rules().items() if not rules.validate(document)] == ["mri.xml"]


def test_fgdc_of_a_table_without_place_is_refused_with_a_remedy() -> None:
    with pytest.raises(PermanentError, match="has no place, which a record of FGDC CSDGM requires") as refused:
        record_format("fgdc").render(_cases()["no place"])
    assert "Declare an 'extent'" in str(refused.value.remedy)


def test_both_languages_stand_in_iso_records() -> None:
    published = _cases()["plain"]
    assert _found(
        "iso19139", published, "//gmd:identificationInfo//gmd:CI_Citation/gmd:title//text()[normalize-space()]"
    ) == ["Provinces and territories (2021)", "Provinces et territoires, Québec compris (2021)"]
    assert _found("iso19139", published, "//gmd:PT_Locale/@id") == ["fra"]
    assert set(_found("iso19139", published, "//gmd:LocalisedCharacterString/@locale")) == {"#fra"}
    assert _found("iso19115_3", published, "//mri:abstract//lan:LocalisedCharacterString/text()") == [
        "Limites numériques."
    ]
    assert _found("iso19139", published, "//gmd:keyword//text()[normalize-space()]") == ["boundaries", "limites"]
    assert _found("oai_dc", published, "dc:title/@xml:lang") == ["en", "fr"]
    assert _found("datacite_xml", published, "d:titles/d:title/@xml:lang") == ["en", "fr"]
    # Three English keywords have no partner in French.
    assert _found("iso19139", _cases()["people"], "//gmd:keyword//text()[normalize-space()]") == [
        "roads",
        "ferries",
        "routes",
    ]


def test_boxes_stand_in_the_order_of_each_standard() -> None:
    published = _cases()["across 180"]
    assert _found("iso19139", published, "//gmd:EX_GeographicBoundingBox//gco:Decimal/text()") == [
        *("170", "180", "-50", "-30"),
        *("-180", "-170", "-50", "-30"),
    ]
    assert _found("fgdc", published, "//bounding/*/text()") == ["170", "-170", "-30", "-50"]
    assert _found("dif", published, "//dif:Bounding_Rectangle/dif:Westernmost_Longitude/text()") == ["170.0", "-180.0"]
    assert _found("oai_dc", published, "dc:coverage/text()")[0] == (
        "westlimit=170.0; southlimit=-50.0; eastlimit=180.0; northlimit=-30.0; units=signed decimal degrees"
    )
    assert _found("datacite_xml", published, "//d:westBoundLongitude/text()") == ["170.0", "-180.0"]
    for name in ("iso19139", "iso19115_3", "dif"):
        assert "ounding" not in record_format(name).render(_cases()["no place"]).decode()


def test_dates_versions_and_identifiers_stand_in_each_standard_s_terms() -> None:
    published = _cases()["superseded"]
    assert _found("fgdc", published, "//citeinfo/pubdate/text()") == ["20261122"]
    assert _found("fgdc", published, "//rngdates/*/text()") == ["20210101", "20211231"]
    assert _found("dif", published, "//dif:Range_DateTime/*/text()") == ["2021-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]
    assert _found("dif", published, "//dif:Associated_DOIs/*[local-name()!='Title']/text()") == [
        *("10.5281/d4c.2021.0.9.0", "IsNewVersionOf"),
        *("10.5281/d4c.2021.1.0.1", "IsPreviousVersionOf"),
    ]
    assert _found("dif", published, "//dif:Dataset_Progress/text()") == ["SUPERSEDED"]
    assert _found("iso19139", published, "//gml:TimePeriod/*/text()") == [
        "2021-01-01T00:00:00Z",
        "2021-12-31T23:59:59Z",
    ]
    assert _found("iso19139", published, "//gmd:dateStamp//text()[normalize-space()]") == ["2026-11-22T01:02:03Z"]
    assert _found("iso19115_3", published, "//mri:associatedResource//@codeListValue") == ["revisionOf"]
    related = "//d:relatedIdentifier[@relatedIdentifierType='DOI']"
    assert _found("datacite_xml", published, f"{related}/@relationType") == [
        "IsVersionOf",
        "IsNewVersionOf",
    ]
    assert _found("datacite_xml", published, "d:identifier/text()") == ["10.5281/d4c.2021.1.0.0"]
    for name in XML:
        assert "doi.org" not in record_format(name).render(_cases()["test DOI"]).decode()


@pytest.mark.parametrize("form", ["iso19139", "iso19115_3"])
def test_no_further_release_of_a_withdrawn_one_is_announced(form: str) -> None:
    def planned(published: PublishedMetadata) -> set[str]:
        codes = _parsed(form, published).iter("{*}MD_MaintenanceFrequencyCode")
        return {str(code.get("codeListValue")) for code in codes}

    assert planned(replace(a_published(), frequency="P1Y")) == {"annually"}
    assert planned(_cases()["withdrawn"]) == {"notPlanned"}


def test_licences_languages_and_people_stand_in_each_standard_s_terms() -> None:
    people, city = _cases()["people"], _cases()["licence of a city"]
    assert _found("iso19139", city, "//gmd:useLimitation//text()[normalize-space()]") == [BOTH.en, BOTH.fr]
    assert _found("iso19139", city, "//gmd:otherConstraints//text()[normalize-space()]") == [CITY_LICENCE.url]
    assert _found("datacite_xml", city, "//d:rights/text()") == [BOTH.en, BOTH.fr]
    assert _found("dif", city, "//dif:License_URL/*/text()") == [CITY_LICENCE.url, BOTH.en]
    data = "//gmd:MD_DataIdentification/gmd:language"
    assert _found("iso19139", people, f"{data}/gmd:LanguageCode/@codeListValue") == ["fra", "iku"]
    assert _found("iso19139_hnap", people, f"{data}/gco:CharacterString/text()") == ["fra; CAN", "iku; CAN"]
    assert _found("iso19139", _cases()["plain"], f"{data}/@gco:nilReason") == ["unknown"]
    assert _found("oai_dc", people, "dc:language/text()") == ["fra", "iku"]
    assert _found("dif", people, "//dif:Dataset_Language/text()") == ["French"]
    cited = "//gmd:citedResponsibleParty"
    assert _found("iso19139", people, f"{cited}//gmd:individualName/gco:CharacterString/text()") == [
        *("Curie, Marie", "Plato", "Doe, Jane"),
    ]
    assert _found("iso19139", people, f"{cited}//gmd:CI_RoleCode/@codeListValue") == [
        *("originator", "originator", "originator", "distributor"),
        *("custodian", "resourceProvider", "pointOfContact", "publisher"),
    ]
    assert "https://orcid.org/0000-0002-1825-0097" in _found("iso19139", people, f"{cited}//gmd:URL/text()")
    assert _found("iso19139", people, "//gmd:pointOfContact//gmd:electronicMailAddress//text()[normalize-space()]") == [
        "help@example.ca"
    ]
    assert _found("iso19115_3", people, "//cit:citedResponsibleParty//cit:CI_Individual/cit:name//text()")[0]
    assert _found("fgdc", people, "//ptcontac//cntemail/text()") == ["help@example.ca"]
    assert _found("fgdc", people, "//origin/text()") == ["Curie, Marie", "Ville de Québec", "Plato"]


def test_every_part_can_be_downloaded_by_its_record() -> None:
    published = _cases()["parts"]
    addresses = [published.url(file) for file in published.data_files]
    assert len(addresses) == 45
    everywhere = [address for file in published.data_files for address in published.urls(file)]
    assert _found("iso19139", published, "//gmd:transferOptions//gmd:URL/text()") == everywhere
    linked = "//mrd:transferOptions//cit:linkage//text()[normalize-space()]"
    assert _found("iso19115_3", published, linked) == everywhere
    assert _found("fgdc", published, "//networkr/text()") == everywhere
    assert _found("dif", published, "//dif:Related_URL/dif:URL/text()") == addresses


def test_many_columns_are_described_up_to_a_limit() -> None:
    labels = _found("fgdc", _cases()["columns"], "//attrlabl/text()")
    assert len(labels) == 200
    assert labels[:3] == ["geometry", "bbox", 'q"uo`te|']


def test_topics_follow_from_keywords_and_title() -> None:
    assert [topic.code for topic in topics(_cases()["plain"])] == ["boundaries"]
    assert [topic.code for topic in topics(_cases()["people"])] == ["boundaries", "transportation"]
    assert [topic.code for topic in topics(_cases()["no place"])] == ["economy"]


def test_topics_and_keywords_are_those_of_gcmd() -> None:
    folder = standards() / "vocabularies"
    known = [topic for _, topic in topics_module.TOPICS]
    with (folder / "gcmd_isotopiccategory_full.csv").open(encoding="utf-8") as file:
        assert {topic.gcmd_name for topic in known} <= {row[0] for row in csv.reader(file) if row}
    with (folder / "gcmd_sciencekeywords_full.csv").open(encoding="utf-8") as file:
        science = {tuple(row[1:4]) for row in csv.reader(file) if len(row) > 4}
    assert [topic.science for topic in known if (*topic.science[:2], topic.science[2] or "") not in science] == []


def test_the_profile_states_codes_as_the_records_of_open_canada_do(fixtures: Any) -> None:
    pattern = r'<gmd:(\w+)[^>]*?codeList="[^"]*#(IC_\d+)"\s+codeListValue="([^"]+)"[^>]*>([^<]*)<'
    seen: dict[str, set[tuple[str, str]]] = {}
    for path in (fixtures / "11_iso19115_hnap").rglob("*.xml"):
        for _, number, code, text in re.findall(pattern, path.read_text("utf-8-sig")):
            seen.setdefault(code, set()).add((number, text.strip()))
    document = record_format("iso19139_hnap").render(_cases()["people"]).decode()
    ours = {code: (number, text) for _, number, code, text in re.findall(pattern, document)}
    shared = ours.keys() & seen.keys()
    assert {"RI_366", "RI_367", "RI_414", "RI_458", "RI_606", "RI_622", "RI_635"} <= shared
    assert {code: ours[code] for code in shared if ours[code] not in seen[code]} == {}


def test_an_element_escapes_text_and_attributes_and_drops_what_xml_cannot_hold() -> None:
    root = element(
        "r",
        element("t", 'a < b & "c" ]]> \x07\ud800', attributes={"x": "1 \"2\" '3' <&>\n"}),
        given_element("empty", None),
        given_element("nothing", ""),
        element("kept"),
    )
    document = xml_document(root, {"": "urn:x", "p": "urn:y"})
    parsed = etree.fromstring(document)
    assert parsed[0].text == 'a < b & "c" ]]>   '
    assert parsed[0].get("x") == "1 \"2\" '3' <&>\n"
    assert [etree.QName(child).localname for child in parsed] == ["t", "kept"]
    with pytest.raises(TypeError, match="only content"):
        element("r", "text", element("t"))


def test_hostile_words_survive_as_words() -> None:
    for name in XML:
        text = "".join(_parsed(name, _cases()["texts"]).itertext())
        assert "\"quoted\" 'single' & ampersand \\ back {brace}" in text
        assert "alert" in HOSTILE_TEXT
