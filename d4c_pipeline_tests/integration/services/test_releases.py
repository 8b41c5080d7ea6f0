"""The address of a release: every record by `Accept` and by name, the page for browsers, links, errors."""

from __future__ import annotations

import httpx
import pytest
from lxml import etree

from d4c_pipeline.metadata.records.registry import record_formats

ADDRESS = "datasets/set_000000/2001/1.1.0"


@pytest.mark.parametrize(
    ("accept", "kind", "content"),
    [
        ("application/vnd.datacite.datacite+xml", "application/vnd.datacite.datacite+xml", b"<resource "),
        ("application/vnd.datacite.datacite+json", "application/vnd.datacite.datacite+json", b'{"doi"'),
        ("application/ld+json", "application/ld+json", b'{"@context": "https://schema.org'),
        ('application/ld+json;profile="http://www.w3.org/ns/dcat#"', "application/ld+json", b'"dcat:Dataset"'),
        ("application/x-bibtex", "application/x-bibtex", b"@misc{"),
        ("text/x-bibtex", "application/x-bibtex", b"@misc{"),
        ("application/x-research-info-systems", "application/x-research-info-systems", b"TY  - DATA"),
        ("application/vnd.citationstyles.csl+json", "application/vnd.citationstyles.csl+json", b'"type": "dataset"'),
        ("application/rdf+xml", "application/rdf+xml", b"<dcat:Dataset"),
        ("application/linkset+json", "application/linkset+json", b'{"linkset"'),
        ("text/x-bibliography", "text/x-bibliography; charset=utf-8", b"Statistics Canada"),
        ("image/png, application/yaml;q=0.1", "application/yaml", b"cff-version"),
    ],
)
def test_accept_chooses_the_record_at_the_clean_address_and_at_the_page(
    services_url: str, accept: str, kind: str, content: bytes
) -> None:
    for address in (ADDRESS, f"en/{ADDRESS}/", f"fr/{ADDRESS}/"):
        answer = httpx.get(f"{services_url}/{address}", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert content in answer.content
        assert answer.headers["vary"].startswith("Accept, Accept-Language")
        same = httpx.get(f"{services_url}{answer.headers['content-location']}")
        assert same.content == answer.content
        unchanged = httpx.get(
            f"{services_url}/{address}", headers={"Accept": accept, "If-None-Match": answer.headers["etag"]}
        )
        assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.parametrize("name", record_formats())
def test_every_format_has_an_address(services_url: str, name: str) -> None:
    answer = httpx.get(f"{services_url}/{ADDRESS}", params={"format": name})
    assert (answer.status_code, answer.headers["content-type"]) == (200, record_formats()[name].media_type)
    if answer.headers["content-type"].endswith("xml"):
        etree.fromstring(answer.content)
    head = httpx.head(f"{services_url}/{ADDRESS}", params={"format": name})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(("languages", "expected"), [("fr-CA,fr;q=0.9,en;q=0.5", "fr"), ("de", "en"), (None, "en")])
def test_a_browser_is_sent_to_the_page_in_its_language(services_url: str, languages: str | None, expected: str) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    headers = {"Accept": accept} | ({"Accept-Language": languages} if languages else {})
    answer = httpx.get(f"{services_url}/{ADDRESS}", headers=headers)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{services_url}/{expected}/{ADDRESS}/"


def test_the_links_are_those_of_fair_signposting(services_url: str) -> None:
    answer = httpx.head(f"{services_url}/{ADDRESS}", headers={"Accept": "text/html"})
    relations = {each["rel"] for each in answer.links.values()}
    header = answer.headers["link"]
    for relation in ("linkset", "type", "author", "license", "item", "describedby", "latest-version"):
        assert f'rel="{relation}"' in header, relation
    assert relations
    assert f'<{services_url}/{ADDRESS}?format=linkset>; rel="linkset"; type="application/linkset+json"' in header
    (describing,) = [each for each in header.split(", ") if "format=datacite_xml>" in each]
    assert describing.endswith('rel="describedby"; type="application/vnd.datacite.datacite+xml"')
    assert "<.." not in header


@pytest.mark.parametrize(
    ("address", "headers", "status", "words"),
    [
        (ADDRESS, {"Accept": "image/png"}, 406, "application/vnd.datacite.datacite+xml"),
        (f"en/{ADDRESS}/", {"Accept": "image/png"}, 406, "application/x-bibtex"),
        (f"{ADDRESS}?format=marc", {}, 400, "bibtex"),
        (f"{ADDRESS}?format=ris&format=csl", {}, 400, "bibtex"),
        ("datasets/nothing/2001/1.1.0", {"Accept": "application/ld+json"}, 404, "catalog.json"),
        ("datasets/set_000000/2001/%27%20OR%201=1%20--", {"Accept": "*/*"}, 404, "catalog.json"),
    ],
)
def test_a_wrong_request_is_a_problem_document(
    services_url: str, address: str, headers: dict[str, str], status: int, words: str
) -> None:
    answer = httpx.get(f"{services_url}/{address}", headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["remedy"]


def test_a_page_that_accepts_html_stays_a_page(services_url: str) -> None:
    # The home has no portal: the request reaches the portal's files, which have nothing.
    assert httpx.get(f"{services_url}/en/{ADDRESS}/", headers={"Accept": "text/html"}).status_code == 404
