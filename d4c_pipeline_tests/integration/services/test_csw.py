"""CSW 2.0.2 and 3.0: every operation in both, filters and their results, answers valid offline, hostile documents."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from lxml import etree

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.csw.records import OUTPUT_SCHEMAS
from d4c_pipeline_tests.support.catalogued_home import served
from d4c_pipeline_tests.support.schemas import schema, schema_errors

CSW = {"2.0.2": "http://www.opengis.net/cat/csw/2.0.2", "3.0.0": "http://www.opengis.net/cat/csw/3.0"}
FES = {"2.0.2": "http://www.opengis.net/ogc", "3.0.0": "http://www.opengis.net/fes/2.0"}
GML = {"2.0.2": "http://www.opengis.net/gml", "3.0.0": "http://www.opengis.net/gml/3.2"}
VERSIONS = tuple(CSW)
CLIENT = httpx.Client(timeout=30)
WITHDRAWN, STANDING = f"urn:d4c:{17:064x}", f"urn:d4c:{18:064x}"
ALL = 59  # of 60, one is withdrawn
PLACED, RATED = 39, 20  # provinces and their keywords; exchange rates, which have none
WESTERN = 35  # in a box that part of the provinces and Canada are in
PLACE = "<ogc:PropertyName>ows:BoundingBox</ogc:PropertyName>"


def get(url: str, version: str = "2.0.2", operation: str = "GetRecords", **options: Any) -> httpx.Response:
    common = {"service": "CSW", "version": version, "request": operation}
    if operation == "GetRecords":
        common |= {"typeNames": "csw:Record", "resultType": "results"}
    return CLIENT.get(f"{url}/csw?{urlencode({**common, **options})}")


def found(answer: httpx.Response) -> list[str]:
    """The records of an answer, by identifier."""
    assert answer.status_code == 200, answer.text
    root = etree.fromstring(answer.content)
    assert etree.QName(root).localname == "GetRecordsResponse", answer.text
    return [record.findtext("{*}identifier") for record in root.find("{*}SearchResults")]


def matched(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(etree.fromstring(answer.content).find("{*}SearchResults").get("numberOfRecordsMatched"))


def code(answer: httpx.Response) -> tuple[str, str]:
    exception = etree.fromstring(answer.content).find("{*}Exception")
    assert exception is not None, answer.text
    return exception.get("exceptionCode"), exception.get("locator")


def document(version: str, condition: str = "", *, sort: str = "", view: str = "brief", **attributes: str) -> bytes:
    """A GetRecords as XML; `condition` in the words of Filter Encoding 1.1."""
    condition = condition.replace(
        "ogc:PropertyName", "ogc:PropertyName" if version == "2.0.2" else "ogc:ValueReference"
    )
    constraint = f'<csw:Constraint version="1.1.0"><ogc:Filter>{condition}</ogc:Filter></csw:Constraint>'
    stated = "".join(f' {name}="{value}"' for name, value in {"resultType": "results", **attributes}.items())
    if version != "2.0.2":
        stated = stated.replace(' resultType="results"', "")
    return f"""<csw:GetRecords xmlns:csw="{CSW[version]}" xmlns:ogc="{FES[version]}" xmlns:gml="{GML[version]}"
        service="CSW" version="{version}"{stated}><csw:Query typeNames="csw:Record">
        <csw:ElementSetName>{view}</csw:ElementSetName>{constraint if condition else ""}{sort}
        </csw:Query></csw:GetRecords>""".encode()


def post(url: str, body: bytes) -> httpx.Response:
    return CLIENT.post(f"{url}/csw", content=body, headers={"Content-Type": "application/xml"})


def compared(name: str, text: str, operator: str = "PropertyIsEqualTo", attributes: str = "") -> str:
    return (
        f"<ogc:{operator} {attributes}><ogc:PropertyName>{name}</ogc:PropertyName><ogc:Literal>{text}</ogc:Literal>"
        f"</ogc:{operator}>"
    )


def like(name: str, pattern: str, *, case: str = "true") -> str:
    attributes = f'wildCard="*" singleChar="?" escapeChar="!" matchCase="{case}"'
    return compared(name, pattern, "PropertyIsLike", attributes)


def envelope(lower: str, upper: str, system: str | None = None) -> str:
    stated = f' srsName="{system}"' if system else ""
    return (
        f"<ogc:BBOX>{PLACE}<gml:Envelope{stated}><gml:lowerCorner>{lower}</gml:lowerCorner>"
        f"<gml:upperCorner>{upper}</gml:upperCorner></gml:Envelope></ogc:BBOX>"
    )


RATES, PROVINCES = like("dc:title", "Daily exchange*"), like("dc:title", "Provinces*")
EPSG, CRS84 = "urn:ogc:def:crs:EPSG::4326", "urn:ogc:def:crs:OGC:1.3:CRS84"
NULL = "<ogc:PropertyIsNull><ogc:PropertyName>dc:subject</ogc:PropertyName></ogc:PropertyIsNull>"
BETWEEN = (
    "<ogc:PropertyIsBetween><ogc:PropertyName>dc:date</ogc:PropertyName><ogc:LowerBoundary><ogc:Literal>2026-01-01"
    "</ogc:Literal></ogc:LowerBoundary><ogc:UpperBoundary><ogc:Literal>2026-01-01T00:00:10Z</ogc:Literal>"
    "</ogc:UpperBoundary></ogc:PropertyIsBetween>"
)
POLYGON = (
    f"<gml:Polygon srsName='{CRS84}'><gml:exterior><gml:LinearRing><gml:posList>-92 50 -90 50 -90 53 -92 53 -92 50"
    "</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"
)
INSIDE = envelope("50 -92", "53 -90", EPSG)
FILTERS: dict[str, tuple[str, int]] = {
    "equal": (compared("dc:title", "Daily exchange rates (2021)"), 2),
    "equal in French": (compared("dc:title", "Taux de change quotidiens (2021)"), 2),
    "equal without case": (compared("dc:title", "DAILY exchange RATES (2021)", attributes='matchCase="false"'), 2),
    "equal with case": (compared("dc:title", "DAILY exchange RATES (2021)"), 0),
    "like": (RATES, RATED),
    "like in French": (like("dc:title", "Taux*"), RATED),
    "like without case": (like("dc:title", "daily*", case="false"), RATED),
    "a wildcard that is escaped": (like("dc:title", "Daily!*"), 0),
    "a single character": (like("dc:title", "Daily exchange rates (202?)"), 2),
    "a pattern of SQL is text": (like("dc:title", "Daily%"), 0),
    "any text": (like("csw:AnyText", "*EXCHANGE*"), RATED),
    "any text with other accents": (like("csw:AnyText", "*Térritoires*"), PLACED),
    "a part of any text": (like("csw:AnyText", "exch"), RATED),
    "a keyword": (compared("dc:subject", "limites"), PLACED),
    "another prefix": (compared("apiso:Subject", "limites"), PLACED),
    "a path": (compared("/csw:Record/dc:subject", "limites"), PLACED),
    "not equal": (compared("dc:subject", "limites", "PropertyIsNotEqualTo"), RATED),
    "and": (f"<ogc:And>{PROVINCES}{compared('dc:subject', 'limites')}</ogc:And>", PLACED),
    "or": (f"<ogc:Or>{PROVINCES}{RATES}</ogc:Or>", 59),
    "not": (f"<ogc:Not>{RATES}</ogc:Not>", PLACED),
    "not and": (f"<ogc:Not><ogc:And>{RATES}{PROVINCES}</ogc:And></ogc:Not>", 59),
    "not not": (f"<ogc:Not><ogc:Not>{RATES}</ogc:Not></ogc:Not>", RATED),
    "three levels": (f"<ogc:And><ogc:Or><ogc:And>{RATES}{PROVINCES}</ogc:And>{RATES}</ogc:Or>{RATES}</ogc:And>", RATED),
    "or and": (f"<ogc:Or><ogc:And>{RATES}{PROVINCES}</ogc:And>{PROVINCES}</ogc:Or>", PLACED),
    "and or with a box": (f"<ogc:And><ogc:Or>{INSIDE}{RATES}</ogc:Or>{RATES}</ogc:And>", RATED),
    "and not or": (f"<ogc:And><ogc:Not><ogc:Or>{RATES}{RATES}</ogc:Or></ogc:Not>{PROVINCES}</ogc:And>", PLACED),
    "or not": (f"<ogc:Or><ogc:Not>{RATES}</ogc:Not>{RATES}</ogc:Or>", ALL),
    "not null": (f"<ogc:Not>{NULL}</ogc:Not>", PLACED),
    "null": (NULL, RATED),
    "since": (compared("dct:modified", "2026-01-01", "PropertyIsGreaterThan"), ALL),
    "since tomorrow": (compared("dct:modified", "2100-01-01T00:00:00Z", "PropertyIsGreaterThan"), 0),
    "between": (BETWEEN, 10),
    "box, latitude first": (envelope("50 -92", "53 -90", EPSG), WESTERN),
    "box, longitude first": (envelope("-92 50", "-90 53", CRS84), WESTERN),
    "box without a system": (envelope("50 -92", "53 -90"), WESTERN),
    "box that can only be longitude first": (envelope("-141 42", "-52 84"), ALL),
    "box elsewhere": (envelope("-30 140", "-20 150", EPSG), 0),
    "polygon": (
        f"<ogc:Intersects>{PLACE}{POLYGON}</ogc:Intersects>",
        WESTERN,
    ),
    "not in a box": (f"<ogc:Not>{envelope('-30 140', '-20 150', EPSG)}</ogc:Not>", ALL),
    "disjoint": (
        f"<ogc:Disjoint>{PLACE}<gml:Point srsName='{EPSG}'><gml:pos>-25 145</gml:pos></gml:Point></ogc:Disjoint>",
        ALL,
    ),
    "injection": (compared("dc:title", "' OR 1=1 --"), 0),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FILTERS)
def test_filters_find_what_they_say(services_url: str, version: str, name: str) -> None:
    condition, expected = FILTERS[name]
    assert matched(post(services_url, document(version, condition))) == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dc:title = 'Daily exchange rates (2021)'", 2),
        ("dc:title='Daily exchange rates (2021)'", 2),
        ("dc:title LIKE 'Daily and%'", 0),
        ("dc:title = 'O''Brien'", 0),
        ("(dc:title like 'Daily%' or dc:title like 'Prov%') and dc:type = 'dataset'", ALL),
        ("dc:title like 'Prov%' and dc:type = 'dataset' or dc:subject = 'limites'", PLACED),
        ("not dc:title like 'Daily%'", PLACED),
        ("dc:subject is null", RATED),
        ("dc:subject is not null", PLACED),
        ("dc:date between '2026-01-01' and '2026-01-01T00:00:10Z'", 10),
        ("BBOX(ows:BoundingBox, -92, 50, -90, 53)", WESTERN),
        ("BBOX(ows:BoundingBox, -92, 50, -90, 53, 'CRS84') AND NOT BBOX(ows:BoundingBox, 140, -30, 150, -20)", WESTERN),
        ("INTERSECTS(ows:BoundingBox, POINT(-91 52))", WESTERN),
        ("csw:AnyText LIKE '%territoires%'", PLACED),
        ("csw:AnyText = 'TERRITOIRES'", PLACED),
        ("dc:title ILIKE 'daily%'", RATED),
        ("dc:title NOT ILIKE 'daily%'", PLACED),
        ("dc:title = 'BBOX(a, 1, 2, 3, 4) ILIKE'", 0),
        ("dc:subject IN ('limites', 'nothing')", PLACED),
    ],
)
def test_cql_text_finds_what_it_says(services_url: str, version: str, text: str, expected: int) -> None:
    answer = get(services_url, version, constraintLanguage="CQL_TEXT", constraint=text)
    assert matched(answer) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_pages_contain_every_record_once_and_in_the_order_asked(services_url: str, version: str) -> None:
    seen, start = [], 1
    while start:
        answer = get(
            services_url, version, startPosition=start, maxRecords=7, elementSetName="full", sortBy="dc:title:D"
        )
        seen += found(answer)
        results = etree.fromstring(answer.content).find("{*}SearchResults")
        assert int(results.get("numberOfRecordsReturned")) == len(results) <= 7
        start = int(results.get("nextRecord"))
    assert len(seen) == len(set(seen)) == ALL
    assert WITHDRAWN not in seen
    titles = [
        etree.fromstring(get(services_url, version, maxRecords=1, sortBy=order).content).findtext(".//{*}title")
        for order in ("dc:title:A", "dc:title:D", "dc:title DESC", "dc:title")
    ]
    assert titles == [
        "Daily exchange rates (1990-01-01)",
        *["Provinces and territories (2021)"] * 2,
        "Daily exchange rates (1990-01-01)",
    ]


def test_the_end_of_a_list_is_stated(services_url: str) -> None:
    for start, returned, following in ((59, "1", "0"), (58, "1", "59"), (60, "0", "0"), (999999999, "0", "0")):
        answer = get(services_url, startPosition=start, maxRecords=1)
        results = etree.fromstring(answer.content).find("{*}SearchResults")
        assert (results.get("numberOfRecordsReturned"), results.get("nextRecord")) == (returned, following)
    assert found(get(services_url, maxRecords=0)) == []
    assert len(found(get(services_url, maxRecords=1000))) == ALL


def test_hits_are_the_default_of_2_and_results_that_of_3(services_url: str) -> None:
    assert found(get(services_url, resultType="hits")) == []
    bare = {"service": "CSW", "request": "GetRecords", "typeNames": "csw:Record"}
    assert found(CLIENT.get(f"{services_url}/csw?{urlencode({**bare, 'version': '2.0.2'})}")) == []
    assert len(found(CLIENT.get(f"{services_url}/csw?{urlencode({**bare, 'version': '3.0.0'})}"))) == 10


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("view", ["brief", "summary", "full"])
def test_records_of_every_element_set_are_valid(services_url: str, version: str, view: str) -> None:
    answer = get(services_url, version, elementSetName=view, maxRecords=60, requestId="urn:uuid:1")
    assert schema_errors(f"csw_{version[0]}", answer.content) == []
    assert len(found(answer)) == ALL
    posted = post(services_url, document(version, RATES, view=view, maxRecords="60"))
    assert schema_errors(f"csw_{version[0]}", posted.content) == []
    assert len(found(posted)) == RATED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("operation", "options"),
    [
        ("GetCapabilities", {}),
        ("GetCapabilities", {"sections": "ServiceIdentification"}),
        ("GetCapabilities", {"updateSequence": "0"}),
        ("GetDomain", {"parameterName": "GetRecords.outputSchema"}),
        ("GetDomain", {"propertyName": "dc:title"}),
        ("GetDomain", {"propertyName": "dct:modified"}),
        ("GetDomain", {"propertyName": "csw:AnyText"}),
        ("GetDomain", {"propertyName": "dc:language"}),
        ("GetRecords", {"resultType": "validate"}),
        ("GetRecords", {"elementName": "dc:title,ows:BoundingBox"}),
        ("GetRecordById", {"id": STANDING, "elementSetName": "full"}),
    ],
)
def test_answers_are_valid(services_url: str, version: str, operation: str, options: dict[str, str]) -> None:
    answer = get(services_url, version, operation, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    assert schema_errors(f"csw_{version[0]}", answer.content) == [], answer.text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("namespace", OUTPUT_SCHEMAS)
def test_records_of_other_schemas_are_those_of_our_writers(services_url: str, version: str, namespace: str) -> None:
    answer = get(services_url, version, outputSchema=namespace, maxRecords=12, elementSetName="full")
    root = etree.fromstring(answer.content)
    results = root.find("{*}SearchResults")
    assert results.get("recordSchema") == namespace
    assert (len(results), results.get("elementSet")) == (12, "full")
    names = dict(zip(OUTPUT_SCHEMAS, ("iso19139", "iso19115_3", "dif", "fgdc", None, "datacite_xml"), strict=True))
    for record in list(results):
        content = etree.tostring(record)
        if names[namespace] == "fgdc":  # its schema has no namespace
            content = re.sub(rb' xmlns="[^"]*"| xsi:schemaLocation="[^"]*"', b"", content)
        if (checked := names[namespace]) is not None:
            assert schema_errors(checked, content) == [], content.decode()
        results.remove(record)
    checker: Any = schema(f"csw_{version[0]}")
    checker.assertValid(etree.fromstring(etree.tostring(root)))
    alone = etree.fromstring(get(services_url, version, "GetRecordById", id=STANDING, outputSchema=namespace).content)
    assert etree.QName(alone[0] if version == "2.0.2" else alone).namespace == namespace


def test_a_record_says_in_both_languages_what_is_published(services_url: str) -> None:
    answer = get(services_url, "2.0.2", "GetRecordById", id=STANDING, elementSetName="full")
    (record,) = etree.fromstring(answer.content)
    assert [each.text for each in record.findall("{*}title")] == [
        "Provinces and territories (2006)",
        "Provinces et territoires, Québec compris (2006)",
    ]
    box = record.find("{*}BoundingBox")
    assert box.get("crs") == "urn:ogc:def:crs:EPSG::4326"
    assert [each.text for each in box] == ["51.1111 -91.1111", "52.1111 -90.1111"]
    assert [each.text for each in record.findall("{*}subject")] == ["boundaries", "limites"]


@pytest.mark.parametrize("version", VERSIONS)
def test_single_elements_are_delivered_by_any_of_their_names(services_url: str, version: str) -> None:
    names = "dc:title,apiso:ResponsibleParty,dct:references,ows:Envelope"
    answer = get(services_url, version, elementName=names, maxRecords=1)
    (record,) = etree.fromstring(answer.content).find("{*}SearchResults")
    found_names = [etree.QName(each).localname for each in record]
    assert list(dict.fromkeys(found_names)) == ["title", "contributor", "references", "BoundingBox"]


def test_identifiers_that_do_not_exist(services_url: str) -> None:
    for identifier in (WITHDRAWN, "urn:d4c:nothing"):
        empty = get(services_url, "2.0.2", "GetRecordById", id=identifier)
        assert len(etree.fromstring(empty.content)) == 0
        assert schema_errors("csw_2", empty.content) == []
        missing = get(services_url, "3.0.0", "GetRecordById", id=identifier)
        assert (missing.status_code, code(missing)) == (404, ("NotFound", "id"))
    both = get(services_url, "2.0.2", "GetRecordById", id=f"{STANDING},urn:d4c:{19:064x},urn:d4c:nothing")
    assert len(etree.fromstring(both.content)) == 2


def test_domains_have_the_values_of_the_catalogue(services_url: str) -> None:
    def values(**options: str) -> list[str]:
        root = etree.fromstring(get(services_url, "2.0.2", "GetDomain", **options).content)
        return [each.text for each in root.iter("{*}Value", "{*}MinValue")]

    assert values(propertyName="dc:subject") == ["boundaries", "limites"]
    assert values(propertyName="dc:type") == ["dataset"]
    assert values(propertyName="dc:date") == ["2026-01-01T00:00:01Z"]
    assert values(parameterName="GetRecords.resultType") == ["hits", "results", "validate"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("operation", "options", "expected"),
    [
        ("GetEverything", {}, ("InvalidParameterValue", "request")),
        ("Transaction", {}, ("OperationNotSupported", "Transaction")),
        ("Harvest", {}, ("OperationNotSupported", "Harvest")),
        ("GetRecords", {"typeNames": "wfs:Feature"}, ("InvalidParameterValue", "typeNames")),
        ("GetRecords", {"outputSchema": "urn:x"}, ("InvalidParameterValue", "outputSchema")),
        ("GetRecords", {"outputFormat": "text/html"}, ("InvalidParameterValue", "outputFormat")),
        ("GetRecords", {"elementSetName": "most"}, ("InvalidParameterValue", "ElementSetName")),
        ("GetRecords", {"elementName": "dc:colour"}, ("InvalidParameterValue", "ElementName")),
        ("GetRecords", {"resultType": "all"}, ("InvalidParameterValue", "resultType")),
        ("GetRecords", {"startPosition": "0"}, ("InvalidParameterValue", "startposition")),
        ("GetRecords", {"startPosition": "-1"}, ("InvalidParameterValue", "startposition")),
        ("GetRecords", {"maxRecords": "1e3"}, ("InvalidParameterValue", "maxrecords")),
        ("GetRecords", {"maxRecords": "٣"}, ("InvalidParameterValue", "maxrecords")),
        ("GetRecords", {"sortBy": "dc:title;DROP TABLE csw_records:A"}, ("InvalidParameterValue", "SortBy")),
        ("GetRecords", {"constraint": "dc:title = 'a'"}, ("MissingParameterValue", "constraintLanguage")),
        ("GetRecords", {"responseHandler": "ftp://x/"}, ("OptionNotSupported", "ResponseHandler")),
        ("GetRecords", {"q": "a\x00b " * 40}, ("InvalidParameterValue", "q")),
        ("GetRecords", {"requestId": "no URI"}, ("InvalidParameterValue", "requestId")),
        ("GetRecords", {"bbox": "1,2,3"}, ("InvalidParameterValue", "bbox")),
        ("GetRecords", {"bbox": "1,2,nan,4"}, ("InvalidParameterValue", "bbox")),
        ("GetRecords", {"time": "yesterday"}, ("InvalidParameterValue", "time")),
        ("GetRecordById", {}, ("MissingParameterValue", "id")),
        ("GetDomain", {}, ("MissingParameterValue", "ParameterName")),
        ("GetDomain", {"propertyName": "no prefix:title"}, ("InvalidParameterValue", "PropertyName")),
        ("GetDomain", {"propertyName": "dc:colour"}, ("InvalidParameterValue", "PropertyName")),
        ("GetDomain", {"parameterName": "GetRecords.colour"}, ("InvalidParameterValue", "ParameterName")),
        ("GetCapabilities", {"sections": "Contents"}, ("InvalidParameterValue", "sections")),
        ("GetCapabilities", {"updateSequence": "999999999"}, None),
        ("GetCapabilities", {"acceptVersions": "1.0"}, ("VersionNegotiationFailed", "acceptversions")),
    ],
)
def test_a_wrong_request_gets_a_valid_report(
    services_url: str, version: str, operation: str, options: dict[str, str], expected: tuple[str, str] | None
) -> None:
    answer = get(services_url, version, operation, **options)
    if expected is None:
        assert etree.QName(etree.fromstring(answer.content)).localname == "Capabilities"
        return
    assert code(answer) == expected, answer.text
    unsupported = expected[0].endswith("NotSupported")
    assert answer.status_code == (200 if version == "2.0.2" else 501 if unsupported else 400)
    assert schema_errors(f"csw_{version[0]}_report", answer.content) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (compared("dc:colour", "red"), "is not a property. Use one of dc:title"),
        ("<ogc:And/>", "'And' with 0 parts"),
        (f"{RATES}{RATES}", "combine them with And or Or"),
        ("<ogc:DWithin/>", "is not a condition of this service"),
        ("<ogc:Not>" * 40 + RATES + "</ogc:Not>" * 40, "nested more than 32 deep"),
        (f"<ogc:Or>{RATES * 700}</ogc:Or>", "700 conditions, and 500 are allowed"),
        (f"<ogc:Or>{like('csw:AnyText', 'a') * 34}</ogc:Or>", "510 conditions, and 500 are allowed"),
        (compared("dct:modified", "soon"), "neither a date nor a time"),
        (compared("dc:title", "a", "PropertyIsLike").replace("ogc:Literal", "ogc:Function"), "functions are not"),
        (envelope("50 -92", "53"), "has 3 numbers"),
        (envelope("a b", "c d"), "are not numbers"),
        (envelope("50 -92", "53 -90", "EPSG:3347"), "is not a reference system here"),
        (envelope("53 -92", "50 -90", EPSG), "the south of a box"),
        (compared("csw:AnyText", "a", "PropertyIsLessThan"), "is compared with LIKE"),
        (like("dc:title", "a" * 600), "more than 500 characters"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(services_url: str, version: str, condition: str, said: str) -> None:
    answer = post(services_url, document(version, condition))
    assert code(answer) == ("InvalidParameterValue", "constraint")
    assert said in answer.text


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "NoApplicableCode"),
        (b"<GetRecords>", "NoApplicableCode"),
        (b"not xml", "NoApplicableCode"),
        (b"\xff\xfe\x00", "NoApplicableCode"),
        (b"<a/>", "InvalidParameterValue"),
        (b'<?xml version="1.0" encoding="x-none"?><a/>', "NoApplicableCode"),
        (BOMB + b"]><a>&j;</a>", "InvalidParameterValue"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "InvalidParameterValue"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>', "InvalidParameterValue"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"), "InvalidParameterValue"),
        (b"<a>" * 100 + b"</a>" * 100, "InvalidParameterValue"),
        (b"<a>" + b"<b/>" * 100_000 + b"</a>", "InvalidParameterValue"),
    ],
)
def test_hostile_documents_end_at_once(services_url: str, body: bytes, expected: str) -> None:
    began = time.perf_counter()
    answer = post(services_url, body)
    assert code(answer)[0] == expected
    assert "root:" not in answer.text
    assert time.perf_counter() - began < 1
    filtered = get(services_url, constraintLanguage="FILTER", constraint=body[:4000].decode("latin-1"))
    assert "root:" not in filtered.text


def test_the_media_type_is_the_one_asked_for(services_url: str) -> None:
    kinds = {"application/xml": "csw", "text/xml": "csw", "application/atom+xml": "Atom"}
    for kind, namespace in kinds.items():
        answer = get(services_url, "3.0.0", outputFormat=kind)
        assert answer.headers["content-type"].split(";")[0] == kind
        assert namespace in (etree.QName(etree.fromstring(answer.content)).namespace or "")


def test_the_service_is_on_when_settings_name_it(catalogued: Settings) -> None:
    for names, status in ((("csw", "oai-pmh"), 200), (("oai-pmh",), 404)):
        with served(catalogued.model_copy(update={"services": names})) as url:
            assert CLIENT.get(f"{url}/csw").status_code == status


def test_bodies_are_bounded(services_url: str) -> None:
    assert post(services_url, b" " * (2 << 20)).status_code == 413


def test_requests_as_documents_and_forms_are_the_same(services_url: str) -> None:
    space = f'xmlns="{CSW["2.0.2"]}" service="CSW"'
    named = f'<GetRecordById {space} version="2.0.2"><Id>{STANDING}</Id><Id>urn:d4c:{19:064x}</Id></GetRecordById>'
    assert len(etree.fromstring(post(services_url, named.encode()).content)) == 2
    domain = f'<GetDomain {space} version="2.0.2"><PropertyName>dc:type</PropertyName></GetDomain>'
    assert b"<csw:Value>dataset</csw:Value>" in post(services_url, domain.encode()).content
    described = post(services_url, f'<DescribeRecord {space} version="2.0.2"/>'.encode())
    assert schema_errors("csw_2", described.content) == []
    asked = {"service": "CSW", "version": "2.0.2", "request": "GetRecordById", "id": STANDING}
    form = CLIENT.post(f"{services_url}/csw", data=asked)
    assert form.content == CLIENT.get(f"{services_url}/csw", params=asked).content
    accepted = f'<GetCapabilities {space}><AcceptVersions xmlns="http://www.opengis.net/ows"><Version>2.0.2</Version>'
    capabilities = post(services_url, f"{accepted}</AcceptVersions></GetCapabilities>".encode())
    assert etree.fromstring(capabilities.content).get("version") == "2.0.2"
    assert etree.fromstring(CLIENT.get(f"{services_url}/csw").content).get("version") == "3.0.0"


def test_q_bbox_and_time_of_3_narrow_the_search(services_url: str) -> None:
    def count(**options: str) -> int:
        return matched(get(services_url, "3.0.0", **options))

    assert [count(q=words) for words in ("territoires", "térritoires provinces", "territoires exchange")] == [
        PLACED,
        PLACED,
        0,
    ]
    assert [count(bbox=box) for box in ("-92,50,-90,53", "140,-30,150,-20", f"50,-92,53,-90,{EPSG}")] == [
        WESTERN,
        0,
        WESTERN,
    ]
    # Across 180 degrees.
    assert [count(bbox=box) for box in ("170,50,-90,53", "170,-30,-170,-20")] == [WESTERN, 0]
    assert [count(time=span) for span in ("2021-05-01/2021-06-01", "../1980-01-01", "2001-07-01")] == [8, 0, 12]
    assert count(recordIds=STANDING) == 1
    assert count(q="a\x00b") == 0
    assert count(q="exchange", time="2021-05-01/..") == 2


def test_opensearch_describes_a_search_that_works(services_url: str) -> None:
    answer = CLIENT.get(f"{services_url}/csw/opensearch")
    assert answer.headers["content-type"] == "application/opensearchdescription+xml"
    negotiated = CLIENT.get(f"{services_url}/csw", headers={"Accept": "application/opensearchdescription+xml"})
    assert negotiated.content == answer.content
    root = etree.fromstring(answer.content)
    (template,) = (
        each.get("template") for each in root.findall("{*}Url") if each.get("type") == "application/atom+xml"
    )
    filled = template.replace("{searchTerms?}", "exchange").replace("{count?}", "5").replace("{startIndex?}", "6")
    filled = filled.replace("{time:start?}", "").replace("{time:end?}", "")
    page = CLIENT.get(re.sub(r"\{[^}]*\?\}", "", filled))
    feed = etree.fromstring(page.content)
    assert [feed.findtext(f"{{*}}{name}") for name in ("totalResults", "startIndex", "itemsPerPage")] == [
        "20",
        "6",
        "5",
    ]
    entries = feed.findall("{*}entry")
    assert len(entries) == 5
    assert entries[0].findtext("{*}title").startswith("Daily exchange rates")
    french = etree.fromstring(CLIENT.get(re.sub(r"\{[^}]*\?\}", "", filled.replace("{language?}", "fr"))).content)
    assert french.findtext("{*}entry/{*}title").startswith("Taux de change quotidiens")
    links = {each.get("rel"): each.get("href") for each in feed.findall("{*}link")}
    assert set(links) == {"self", "search", "next", "previous"}
    following = etree.fromstring(CLIENT.get(links["next"]).content)
    assert following.findtext("{*}startIndex") == "11"
    record = next(each.get("href") for each in entries[0].findall("{*}link") if each.get("rel") == "self")
    assert schema_errors("csw_3", CLIENT.get(record).content) == []
