"""DCAT pages, sitemap, llms.txt, and the list and README of a dataset: links lead to what exists, texts stay texts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from rdflib import DCAT, DCTERMS, RDF, Graph, URIRef

from d4c_pipeline.catalogue.dcat_pages import DCAT_ROOT, DCAT_US_ROOT, KINDS, Kind, begins_page, pages
from d4c_pipeline.catalogue.site_documents import LLMS, SITEMAP, documents, llms
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.registry import record_documents
from d4c_pipeline_tests.support.published import SITE, a_published, hostile
from d4c_pipeline_tests.support.releases import RATES

BASE = "https://data.example.ca/"
# What DCAT 3 and its European profile require of every catalogue, dataset and distribution.
SHAPES = """
@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix dcat: <http://www.w3.org/ns/dcat#> .
@prefix dct: <http://purl.org/dc/terms/> . @prefix foaf: <http://xmlns.com/foaf/0.1/> .
@prefix spdx: <http://spdx.org/rdf/terms#> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
[] a sh:NodeShape ; sh:targetClass dcat:Catalog ;
  sh:property [ sh:path dct:title ; sh:minCount 1 ; sh:uniqueLang true ; sh:datatype rdf:langString ] ,
    [ sh:path dct:description ; sh:minCount 1 ; sh:uniqueLang true ] ,
    [ sh:path dct:publisher ; sh:minCount 1 ; sh:maxCount 1 ; sh:class foaf:Agent ] ,
    [ sh:path dcat:dataset ; sh:class dcat:Dataset ] .
[] a sh:NodeShape ; sh:targetClass dcat:Dataset ;
  sh:property [ sh:path dct:title ; sh:minCount 1 ; sh:uniqueLang true ; sh:datatype rdf:langString ] ,
    [ sh:path dct:description ; sh:minCount 1 ; sh:uniqueLang true ; sh:datatype rdf:langString ] ,
    [ sh:path dct:creator ; sh:class foaf:Agent ] ,
    [ sh:path dct:license ; sh:class dct:LicenseDocument ; sh:maxCount 1 ] ,
    [ sh:path dct:issued ; sh:minCount 1 ; sh:maxCount 1 ; sh:datatype xsd:date ] ,
    [ sh:path dcat:version ; sh:minCount 1 ; sh:maxCount 1 ] ,
    [ sh:path dct:spatial ; sh:class dct:Location ] , [ sh:path dct:temporal ; sh:class dct:PeriodOfTime ] ,
    [ sh:path dcat:landingPage ; sh:minCount 1 ; sh:nodeKind sh:IRI ; sh:class foaf:Document ] ,
    [ sh:path dcat:distribution ; sh:minCount 1 ; sh:class dcat:Distribution ] .
[] a sh:NodeShape ; sh:targetClass dcat:Distribution ;
  sh:property [ sh:path dcat:accessURL ; sh:minCount 1 ; sh:nodeKind sh:IRI ] ,
    [ sh:path dcat:downloadURL ; sh:minCount 1 ; sh:nodeKind sh:IRI ] ,
    [ sh:path dcat:byteSize ; sh:maxCount 1 ; sh:datatype xsd:nonNegativeInteger ] ,
    [ sh:path dcat:mediaType ; sh:maxCount 1 ; sh:class dct:MediaType ] ,
    [ sh:path spdx:checksum ; sh:maxCount 1 ; sh:class spdx:Checksum ] .
"""


def _graph(content: bytes, address: str = DCAT_ROOT) -> Graph:
    return Graph().parse(data=content.decode(), format="json-ld", publicID=BASE + address)


def _renamed(published: PublishedMetadata, dataset: str) -> PublishedMetadata:
    return replace(published, dataset=dataset, doi=f"10.5281/{dataset}")


@pytest.mark.parametrize("case", list(hostile()))
def test_dcat_conforms_to_its_shapes(case: str) -> None:
    from pyshacl import validate

    published = replace(hostile()[case], latest=True)
    made = dict(documents([published], published.site))
    graph = _graph(made[DCAT_ROOT])
    conforms, _, report = validate(graph, shacl_graph=Graph().parse(data=SHAPES, format="turtle"))
    assert conforms, report
    assert len(set(graph.subjects(RDF.type, DCAT.Distribution))) == len(published.data_files)


def test_dcat_states_title_in_both_languages_and_the_versions() -> None:
    published = replace(hostile()["superseded"], latest=True)
    graph = _graph(dict(documents([published], SITE))[DCAT_ROOT])
    dataset = URIRef("https://doi.org/10.5281/d4c.2021.1.0.0")
    assert {title.language for title in graph.objects(dataset, DCTERMS.title)} == {"en", "fr"}
    assert str(graph.value(dataset, URIRef(f"{DCAT}previousVersion"))) == "https://doi.org/10.5281/d4c.2021.0.9.0"
    assert str(graph.value(dataset, URIRef(f"{DCAT}hasCurrentVersion"))) == "https://doi.org/10.5281/d4c.2021.1.1.0"


def test_a_harvester_walks_the_pages_through_every_dataset() -> None:
    first = a_published()
    names = [f"dataset_{number:03}" for number in range(300)]
    made = dict(documents([_renamed(first, name) for name in names], SITE))
    hydra = "http://www.w3.org/ns/hydra/core#"
    found: list[str] = []
    address, walked = DCAT_ROOT, 0
    while True:
        graph = _graph(made[address], address)
        found += [str(each) for each in graph.objects(None, DCAT.dataset)]
        walked += 1
        (view,) = graph.subjects(RDF.type, URIRef(f"{hydra}PartialCollectionView"))
        following = graph.value(view, URIRef(f"{hydra}next"))
        assert following == graph.value(view, URIRef(f"{hydra}nextPage"))
        if following is None:
            break
        address = str(following).removeprefix(BASE)
    assert sorted(found) == [f"https://doi.org/10.5281/{name}" for name in names]
    assert walked > 1
    root = json.loads(made[DCAT_US_ROOT])
    others = [json.loads(made[each["@id"].removeprefix(BASE)]) for each in root["catalog"]]
    assert sum(len(page["dataset"]) for page in (root, *others)) == 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_dataset_changes_one_page_or_cuts_one_kind_of_page(kind: Kind) -> None:
    names = [f"dataset_{number:04}" for number in range(2_000)]
    for new in names[1_000:1_100]:
        before = {page.address: page for page in pages([name for name in names if name != new], kind)}
        changed = [page for page in pages(names, kind) if before.get(page.address) != page]
        most = {"dcat": 2, "dcat-us": 3, "sitemap": 2}[kind]  # DCAT-US has the root that lists the new page
        assert len(changed) <= (most if begins_page(new) == kind else 1)
    assert [name for page in pages(names, kind) for name in page.datasets] == names
    assert max(len(page.datasets) for page in pages(names, kind)) < 120


@pytest.mark.parametrize("case", list(hostile()))
def test_dcat_us_has_what_its_schema_requires(case: str) -> None:
    published = replace(hostile()[case], latest=True)
    content = dict(documents([published], published.site))[DCAT_US_ROOT]
    assert b"<" not in content
    (dataset,) = json.loads(content)["dataset"]
    assert {"title", "description", "identifier", "publisher", "contactPoint"} <= dataset.keys()
    assert dataset["publisher"]["name"]
    for contact in dataset["contactPoint"]:
        assert contact["fn"]
        assert re.fullmatch(r"mailto:[^@]+@[^@]+\.[^@]+", contact["hasEmail"])
    assert all(isinstance(each["byteSize"], str) for each in dataset["distribution"])
    assert all(len(code) == 2 for code in dataset.get("language", []))


def test_every_link_of_the_site_leads_to_a_document_of_it() -> None:
    released = [
        a_published(version="0.9.0", superseded_by="1.0.0"),
        a_published(previous="0.9.0", day=1),
        a_published(RATES, "2025-06-04", day=2),
    ]
    made = dict(documents(released, SITE))
    known = set(made) | {"catalogue/catalog.json", "catalogue/stac.parquet"}
    for release in released:
        known |= {address for address, _ in record_documents(release)} | {release.item_address}
        known |= {file.address for file in release.files} | {each.address for each in release.torrents}
    for address, content in made.items():
        text = content.decode().replace("\\u0026", "&")
        for link in re.findall(rf"{BASE}([^\s\"'<>)#\]]*)", text):
            assert link in known, (address, link)


def test_the_list_of_versions_and_the_readme_have_both_languages_and_the_newest_first() -> None:
    released = [a_published(version="0.9.0", superseded_by="1.0.0"), a_published(previous="0.9.0", day=1)]
    made = dict(documents(released, SITE))
    listed = json.loads(made["catalogue/provinces/versions.json"])
    assert [(each["version"], each["latest"]) for each in listed["versions"]] == [("1.0.0", True), ("0.9.0", False)]
    assert listed["title"]["fr"] == "Provinces et territoires, Québec compris"
    readme = made["catalogue/provinces/README.md"].decode()
    assert readme.index("# Provinces and territories") < readme.index("# Provinces et territoires")
    assert f"SELECT * FROM '{released[1].url(released[1].data_files[0])}' LIMIT 10;" in readme


def test_hostile_texts_are_no_markup_in_markdown() -> None:
    published = hostile()["texts"]
    made = dict(documents([published], SITE))
    for address in ("catalogue/provinces/README.md", LLMS):
        text = made[address].decode()
        assert "<b>" not in text
        assert "<script" not in text
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)


def test_the_sitemap_names_pages_of_its_own_host_and_none_without_an_address() -> None:
    published = a_published()
    made = dict(documents([published], SITE))
    (index,) = [element.text for element in Xml.fromstring(made[SITEMAP]).iter() if element.tag.endswith("loc")]
    part = Xml.fromstring(made[str(index).removeprefix(BASE)])
    (page,) = [element.text for element in part.iter() if element.tag.endswith("loc")]
    assert page == f"{BASE}catalogue/provinces/2021/1.0.0/schema.jsonld"
    portal = replace(SITE, page_url=f"{BASE}{{dataset}}/{{vintage}}.html")
    assert b"https://data.example.ca/provinces/2021.html" in b"".join(
        content for address, content in documents([replace(published, site=portal)], portal) if "sitemap" in address
    )
    assert SITEMAP not in dict(documents([hostile()["no public store"]], replace(SITE, base_url=None)))


def test_llms_txt_lists_a_bounded_number_of_datasets_and_no_version() -> None:
    title = a_published().title
    text = llms({f"dataset_{number:04}": title for number in range(1_200)}, 1_200, SITE).decode()
    assert text.startswith("# Data for Canada\n\n> Open data")
    assert text.count("README.md") == 1_000
    assert "Provinces and territories / Provinces et territoires, Québec compris]" in text
    assert "1.0.0" not in text
    assert "200 more datasets" in text


def test_the_same_releases_give_the_same_bytes() -> None:
    released = [a_published(day=1), a_published(RATES, "2025-06-04")]
    assert dict(documents(released, SITE)) == dict(documents(released[::-1], SITE))
    assert list(documents([], SITE))  # a catalogue without a release is a catalogue
