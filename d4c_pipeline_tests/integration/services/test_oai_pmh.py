"""OAI-PMH 2.0: every verb, every error, lists that continue after a restart and a change, answers valid offline."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from lxml import etree

from d4c_pipeline.catalogue.record_parts import files_of
from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.oai import repository
from d4c_pipeline.services.oai.formats import FORMATS
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import publish
from d4c_pipeline_tests.support.catalogued_home import catalogued_home, served
from d4c_pipeline_tests.support.schemas import schema, schema_errors

OAI = "{http://www.openarchives.org/OAI/2.0/}"
WITHDRAWN = f"urn:d4c:{17:064x}"
STANDING = f"urn:d4c:{18:064x}"
DC = "metadataPrefix=oai_dc"


def ask(url: str, query: str) -> ET.Element:
    answer = httpx.get(f"{url}/oai?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    return ET.fromstring(answer.content)


def code(root: ET.Element) -> str | None:
    found = root.find(f"{OAI}error")
    return None if found is None else found.get("code")


def identifiers(root: ET.Element) -> list[str]:
    return [str(each.text) for each in root.iter(f"{OAI}identifier")]


def token(root: ET.Element) -> str:
    return str(next(root.iter(f"{OAI}resumptionToken")).text or "")


def harvested(url: str, verb: str, query: str) -> list[str]:
    root = ask(url, f"verb={verb}&{query}")
    found = identifiers(root)
    while root.find(f"*/{OAI}resumptionToken") is not None and token(root):
        root = ask(url, f"verb={verb}&resumptionToken={token(root)}")
        found += identifiers(root)
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "badVerb"),
        ("verb=", "badVerb"),
        ("verb=identify", "badVerb"),
        ("verb=Identify&verb=Identify", "badVerb"),
        ("verb=GetRecord&verb=Identify", "badVerb"),
        ("verb=Identify&extra=1", "badArgument"),
        ("verb=Identify&metadataPrefix=oai_dc", "badArgument"),
        ("verb=ListSets&set=collection", "badArgument"),
        ("verb=ListMetadataFormats&metadataPrefix=oai_dc", "badArgument"),
        ("verb=ListMetadataFormats&identifier=urn:d4c:nothing", "idDoesNotExist"),
        ("verb=GetRecord", "badArgument"),
        (f"verb=GetRecord&{DC}", "badArgument"),
        (f"verb=GetRecord&identifier={STANDING}", "badArgument"),
        (f"verb=GetRecord&identifier=&{DC}", "badArgument"),
        (f"verb=GetRecord&identifier=no%20uri&{DC}", "badArgument"),
        (f"verb=GetRecord&identifier=urn:d4c:nothing&{DC}", "idDoesNotExist"),
        (f"verb=GetRecord&identifier={STANDING}&metadataPrefix=marc21", "cannotDisseminateFormat"),
        (f"verb=GetRecord&identifier={STANDING}&{DC}&{DC}", "badArgument"),
        (f"verb=GetRecord&identifier={STANDING}&{DC}&set=collection", "badArgument"),
        ("verb=ListRecords", "badArgument"),
        ("verb=ListIdentifiers", "badArgument"),
        ("verb=ListRecords&metadataPrefix=marc21", "cannotDisseminateFormat"),
        (f"verb=ListRecords&{DC}&from=2026", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-13-01", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-02-30", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01T00:00Z", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01T00:00:00.5Z", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01T00:00:00%2B01:00", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01%2000:00:00", "badArgument"),
        (f"verb=ListRecords&{DC}&until=٢٠٢٦-01-01", "badArgument"),
        (f"verb=ListRecords&{DC}&until=yesterday", "badArgument"),
        (f"verb=ListRecords&{DC}&until=", "badArgument"),
        (f"verb=ListRecords&{DC}&until=9999-12-31T24:00:00Z", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-02&until=2026-01-01", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01&until=2026-01-02T00:00:00Z", "badArgument"),
        (f"verb=ListRecords&{DC}&from=2026-01-01&from=2026-01-02", "badArgument"),
        (f"verb=ListRecords&{DC}&set=no%20spec", "badArgument"),
        (f"verb=ListRecords&{DC}&set=collection:", "badArgument"),
        (f"verb=ListRecords&{DC}&set=nothing", "noRecordsMatch"),
        (f"verb=ListRecords&{DC}&set=collection:nothing", "noRecordsMatch"),
        (f"verb=ListRecords&{DC}&set=collection:daily:1990", "noRecordsMatch"),
        (f"verb=ListRecords&{DC}&until=2001-01-01", "noRecordsMatch"),
        (f"verb=ListIdentifiers&{DC}&from=2100-01-01", "noRecordsMatch"),
        (f"verb=ListIdentifiers&{DC}&until=0001-01-01", "noRecordsMatch"),
        ("verb=ListRecords&resumptionToken=", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=nothing", "badResumptionToken"),
        ("verb=ListRecords&resumptionToken=%00%ff", "badResumptionToken"),
        ("verb=ListSets&resumptionToken=e30", "badResumptionToken"),
        (f"verb=ListRecords&resumptionToken=nothing&{DC}", "badArgument"),
        (f"verb=ListRecords&{DC}&set={'a' * 5000}", "badArgument"),
    ],
)
def test_a_wrong_request_gets_its_error_in_a_valid_answer(services_url: str, query: str, expected: str) -> None:
    answer = httpx.get(f"{services_url}/oai?{query}")
    root = ET.fromstring(answer.content)
    assert code(root) == expected
    assert schema_errors("oai_pmh", answer.content) == []
    stated = root.find(f"{OAI}request")
    assert stated is not None
    assert bool(stated.attrib) == (expected not in ("badVerb", "badArgument"))


@pytest.mark.parametrize(
    "query",
    [
        "verb=Identify",
        "verb=ListMetadataFormats",
        f"verb=ListMetadataFormats&identifier={STANDING}",
        "verb=ListSets",
        f"verb=ListIdentifiers&{DC}",
        f"verb=ListIdentifiers&{DC}&set=subject:boundaries",
        f"verb=GetRecord&identifier={WITHDRAWN}&{DC}",
    ],
)
def test_answers_without_metadata_are_valid(services_url: str, query: str) -> None:
    answer = httpx.get(f"{services_url}/oai?{query}")
    assert schema_errors("oai_pmh", answer.content) == []
    assert code(ET.fromstring(answer.content)) is None


@pytest.mark.parametrize("prefix", FORMATS)
def test_records_of_every_format_are_valid_with_the_envelope_around_them(services_url: str, prefix: str) -> None:
    root = etree.fromstring(httpx.get(f"{services_url}/oai?verb=ListRecords&metadataPrefix={prefix}").content)
    records = root.findall(f".//{OAI}record")
    assert len(records) == 60
    names = {"iso19115-3": "iso19115_3", "oai_datacite": "datacite_xml", "dcat": None}
    checked = names.get(prefix, prefix)
    for record in records[:12]:
        (payload,) = record.find(f"{OAI}metadata")
        assert etree.QName(payload).namespace == FORMATS[prefix].namespace
        if prefix == "oai_datacite":
            payload = payload.find("{*}payload/{*}resource")
        content = etree.tostring(payload)
        if prefix == "fgdc":  # its schema has no namespace
            content = re.sub(rb' xmlns="[^"]*"| xsi:schemaLocation="[^"]*"', b"", content)
        if checked is not None:
            assert schema_errors(checked, content) == [], content.decode()
    for record in records:
        for payload in record.findall(f"{OAI}metadata/*"):
            payload.getparent().remove(payload)
            record.remove(record.find(f"{OAI}metadata"))
    checker: Any = schema("oai_pmh")
    checker.assertValid(etree.fromstring(etree.tostring(root)))


def test_a_withdrawn_release_stays_as_a_deleted_record(services_url: str) -> None:
    root = ask(services_url, f"verb=GetRecord&identifier={WITHDRAWN}&{DC}")
    head = next(root.iter(f"{OAI}header"))
    assert head.get("status") == "deleted"
    assert root.find(f".//{OAI}metadata") is None
    listed = ask(services_url, f"verb=ListRecords&{DC}")
    assert [each.get("status") for each in listed.iter(f"{OAI}header")].count("deleted") == 1
    assert WITHDRAWN in identifiers(listed)


def test_sets_contain_what_their_names_say(services_url: str) -> None:
    sizes = {
        spec: len(harvested(services_url, "ListIdentifiers", f"{DC}&set={spec}"))
        for spec in ("collection", "collection:daily", "collection:set_000001", "package", "subject:boundaries")
    }
    assert sizes == {
        "collection": 60,
        "collection:daily": 10,
        "collection:set_000001": 20,
        "package": 60,
        "subject:boundaries": 40,
    }
    names = {spec.text: name.text for spec, name in ask(services_url, "verb=ListSets").iter(f"{OAI}set")}
    assert names["collection:set_000001"] == "Provinces and territories"
    assert names["collection:daily"] == "Daily exchange rates"


def test_from_and_until_include_their_seconds_and_days(catalogued: Settings, services_url: str) -> None:
    parts = f"read_parquet({[str(path) for path in files_of(catalogued.home / 'store')]})"
    first, last = duckdb.sql(
        f"SELECT strftime(to_timestamp(min(epoch(modified))) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ'),"
        f" strftime(to_timestamp(max(epoch(modified))) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') FROM {parts}"
    ).fetchall()[0]
    assert first < last  # the withdrawal came later
    everything = harvested(services_url, "ListIdentifiers", DC)
    assert len(everything) == len(set(everything)) == 60
    until_first = harvested(services_url, "ListIdentifiers", f"{DC}&until={first}")
    from_last = harvested(services_url, "ListIdentifiers", f"{DC}&from={last}")
    assert sorted(until_first + from_last) == sorted(everything)
    assert WITHDRAWN in from_last
    assert STANDING not in set(from_last) & set(until_first)  # each record has one time
    assert harvested(services_url, "ListIdentifiers", f"{DC}&from={first[:10]}&until={last[:10]}") == everything


def test_post_and_head_do_what_get_does(services_url: str) -> None:
    form = {"verb": "GetRecord", "identifier": STANDING, "metadataPrefix": "dcat"}
    posted = httpx.post(f"{services_url}/oai", data=form)
    got = httpx.get(f"{services_url}/oai", params=form)
    strip = re.compile(rb"<responseDate>[^<]*</responseDate>")
    assert strip.sub(b"", posted.content) == strip.sub(b"", got.content)
    head = httpx.head(f"{services_url}/oai", params={"verb": "Identify"})
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 300


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"<xml/>", "text/xml", 415),
        (b"verb=Identify&x=" + b"a" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"verb=\xff", "application/x-www-form-urlencoded", 400),
    ],
)
def test_a_wrong_body_is_a_problem_document(services_url: str, content: bytes, kind: str, status: int) -> None:
    answer = httpx.post(f"{services_url}/oai", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


def test_tokens_survive_a_restart_and_changes_and_nobody_can_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "RECORDS_PAGE", 7)
    settings = catalogued_home(tmp_path, 30, rolling=5, withdrawn=None)
    with served(settings) as url:
        root = ask(url, f"verb=ListRecords&{DC}")
        first, continued = identifiers(root), token(root)
        last = next(root.iter(f"{OAI}resumptionToken"))
        assert (last.get("completeListSize"), last.get("cursor"), len(first)) == ("30", "0", 7)
        assert code(ask(url, f"verb=ListIdentifiers&resumptionToken={continued}")) == "badResumptionToken"
        forged = continued[:-1] + ("A" if continued[-1] != "A" else "B")
        assert code(ask(url, f"verb=ListRecords&resumptionToken={forged}")) == "badResumptionToken"
    with Deployment.open(settings, archive=False) as deployment:
        time.sleep(1.1)  # what changes in the second of the first page still belongs to the list
        publish(deployment.ledger, 31, "set_000001", "2021", "1.9.0")
        catalogue.rebuild(deployment)
    with served(settings) as url:
        found = first
        sizes: list[tuple[str | None, str | None]] = []
        while continued:
            root = ask(url, f"verb=ListRecords&resumptionToken={continued}")
            found = found + identifiers(root)
            continued = token(root)
            end = next(root.iter(f"{OAI}resumptionToken"))
            sizes.append((end.get("completeListSize"), end.get("cursor")))
        assert sizes[0] == ("30", "7")
        assert len(found) == len(set(found))
        # What changed meanwhile moved behind the end of the list, and the next harvest gets it.
        everything = harvested(url, "ListRecords", DC)
        assert len(everything) == 31
        changed = [each for each in everything if each not in found]
        assert f"urn:d4c:{31:064x}" in changed
        assert len(changed) <= 2
