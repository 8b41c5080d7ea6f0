"""OWSLib speaks CSW 2.0.2 and 3.0."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from owslib import fes, fes2
from owslib.catalogue.csw3 import Csw30Record
from owslib.csw import CatalogueServiceWeb
from owslib.etree import etree
from owslib.ows import ExceptionReport

from client_cases import case

VERSIONS = ("2.0.2", "3.0.0")
_PAGE = 100
_CANADA = (41.0, -142.0, 84.0, -52.0)  # latitude first, as CSW has it by default
_ELSEWHERE = (-30.0, 140.0, -20.0, 150.0)
_FORMATS = {
    "gmd": "http://www.isotc211.org/2005/gmd",
    "mdb": "http://standards.iso.org/iso/19115/-3/mdb/2.0",
    "dif": "http://gcmd.gsfc.nasa.gov/Aboutus/xml/dif/",
}
_OGC, _FES, _GML = "http://www.opengis.net/ogc", "http://www.opengis.net/fes/2.0", "http://www.opengis.net/gml"
_NAMED = ("GetCapabilities", "DescribeRecord", "GetRecords", "GetRecordById", "GetDomain")


class _Client:
    """OWSLib's client of one version, with the names that both versions of it share."""

    def __init__(self, url: str, version: str) -> None:
        self.version = version
        self.service: Any = CatalogueServiceWeb(f"{url}/csw", version=version, timeout=120)
        self.filters: Any = fes if version == "2.0.2" else fes2
        self.search = self.service.getrecords2 if version == "2.0.2" else self.service.getrecords

    def count(self, *constraints: Any, **options: Any) -> int:
        self.search(constraints=list(constraints), maxrecords=1, **options)
        return self.service.results["matches"]

    def pages(self, **options: Any) -> Iterator[Sequence[str]]:
        """Identifiers of each page, as a client follows `nextrecord`."""
        start = 1
        while start:
            self.search(startposition=start, maxrecords=_PAGE, **options)
            yield list(self.service.records)
            start = self.service.results["nextrecord"]


def _for_both(operation: str) -> Callable[[Callable[[_Client, int], str]], None]:
    def register(run: Callable[[_Client, int], str]) -> None:
        for version in VERSIONS:
            case(f"OWSLib, CSW {version}", operation)(partial(_run, run=run, version=version))

    return register


def _run(url: str, releases: int, *, run: Callable[[_Client, int], str], version: str) -> str:
    return run(_Client(url, version), releases)


@_for_both("GetCapabilities")
def _(client: _Client, _releases: int) -> str:
    service = client.service
    operations = [each.name for each in service.operations]
    expected = [name for name in _NAMED if client.version == "2.0.2" or name != "DescribeRecord"]
    assert sorted(operations) == sorted(expected), operations
    assert service.identification.type == "CSW", service.identification.type
    spatial = service.filters.spatial_operators
    assert "BBOX" in spatial, spatial
    return f"{service.identification.title}; {', '.join(operations)}"


@_for_both("GetRecords, all pages")
def _(client: _Client, releases: int) -> str:
    began = time.perf_counter()
    found = [name for page in client.pages(esn="full") for name in page]
    spent = time.perf_counter() - began
    assert len(found) == len(set(found)) == releases - 1, f"{len(set(found))} of {len(found)} records differ"
    return f"{len(found):,} records in {spent:.1f} s: {len(found) / spent:,.0f} a second"


@_for_both("GetRecords by box")
def _(client: _Client, releases: int) -> str:
    counts = [client.count(client.filters.BBox(list(box))) for box in (_CANADA, _ELSEWHERE)]
    assert counts == [releases - 1, 0], counts
    return f"{counts[0]:,} in Canada, {counts[1]} in Australia"


@_for_both("GetRecords by text in both languages, by Filter and CQL")
def _(client: _Client, _releases: int) -> str:
    counts = {}
    for word in ("territories", "territoires"):
        by_filter = client.count(client.filters.PropertyIsLike("csw:AnyText", f"%{word}%"))
        by_cql = client.count(cql=f"csw:AnyText LIKE '%{word}%'")
        assert by_filter == by_cql > 0, (word, by_filter, by_cql)
        counts[word] = by_filter
    assert counts["territories"] == counts["territoires"], counts
    assert client.count(client.filters.PropertyIsLike("csw:AnyText", "%qu'on ne trouve pas%")) == 0
    return ", ".join(f"{word} {count:,}" for word, count in counts.items())


@_for_both("GetRecords by And, Or, Not")
def _(client: _Client, releases: int) -> str:
    made = client.filters
    rates = made.PropertyIsLike("dc:title", "Daily exchange%")
    provinces = made.PropertyIsEqualTo("dc:subject", "limites")
    some, others = client.count(rates), client.count(provinces)
    assert client.count(made.Or([rates, provinces])) == some + others == releases - 1
    assert client.count(made.And([rates, provinces])) == 0
    assert client.count(made.Not([rates])) == others
    return f"{some:,} and {others:,}"


@_for_both("GetRecords by time: after, before, during, by Filter and CQL")
def _(client: _Client, releases: int) -> str:
    made, begin = client.filters, "apiso:TempExtent_begin"
    every = releases - 1
    by_filter = {
        "after": client.count(made.PropertyIsGreaterThan(begin, "2017-01-01T00:00:00Z")),
        "before": client.count(made.PropertyIsLessThanOrEqualTo(begin, "2017-01-01T00:00:00Z")),
        "during": client.count(made.PropertyIsBetween(begin, "2016-01-01T00:00:00Z", "2017-01-01T00:00:00Z")),
        "after all": client.count(made.PropertyIsGreaterThan(begin, "2100-01-01")),
    }
    by_cql = {
        "after": client.count(cql=f"T_AFTER({begin}, TIMESTAMP('2017-01-01T00:00:00Z'))"),
        "before": client.count(cql=f"NOT T_AFTER({begin}, TIMESTAMP('2017-01-01T00:00:00Z'))"),
        "during": client.count(
            cql=f"{begin} BETWEEN TIMESTAMP('2016-01-01T00:00:00Z') AND TIMESTAMP('2017-01-01T00:00:00Z')"
        ),
        "after all": client.count(cql=f"T_AFTER({begin}, DATE('2100-01-01'))"),
    }
    assert by_filter == by_cql, (by_filter, by_cql)
    assert by_filter["after"] + by_filter["before"] == every, (by_filter, every)
    assert 0 < by_filter["during"] <= by_filter["before"], by_filter
    assert by_filter["after all"] == 0, by_filter
    return ", ".join(f"{name} {count:,}" for name, count in by_filter.items() if count)


def _within(client: _Client) -> Any:
    """Return DWithin, for which OWSLib has no class."""
    of_two = client.version == "2.0.2"
    filters, gml = (_OGC, _GML) if of_two else (_FES, f"{_GML}/3.2")

    class Within(client.filters.OgcExpression):
        def toXML(self) -> Any:  # noqa: N802 - OWSLib calls it
            made = etree.Element(f"{{{filters}}}DWithin")
            name = "PropertyName" if of_two else "ValueReference"
            etree.SubElement(made, f"{{{filters}}}{name}").text = "ows:BoundingBox"
            point = etree.SubElement(made, f"{{{gml}}}Point", srsName="urn:ogc:def:crs:EPSG::4326")
            etree.SubElement(point, f"{{{gml}}}pos").text = "45 -75"
            etree.SubElement(made, f"{{{filters}}}Distance", {"units" if of_two else "uom": "m"}).text = "1000"
            return made

    return Within()


@_for_both("GetRecords by a distance, which is refused")
def _(client: _Client, _releases: int) -> str:
    try:
        client.count(_within(client))
    except ExceptionReport as error:
        said = str(error)
    else:
        raise AssertionError("DWithin was taken for another condition")
    assert "'DWithin'" in said, said
    assert "BBOX, Intersects" in said, said  # what to use instead
    return said[:80]


@_for_both("GetRecords in order")
def _(client: _Client, _releases: int) -> str:
    made = client.filters
    titles = []
    for order in ("ASC", "DESC"):
        client.search(sortby=made.SortBy([made.SortProperty("dc:title", order)]), maxrecords=1, esn="brief")
        titles.append(next(iter(client.service.records.values())).title)
    assert titles[0].startswith("Daily"), titles
    assert titles[1].startswith("Provinces"), titles
    return " .. ".join(titles)


@_for_both("GetRecordById, and in other schemas")
def _(client: _Client, _releases: int) -> str:
    client.search(maxrecords=1, constraints=[client.filters.PropertyIsEqualTo("dc:subject", "limites")])
    (name,) = client.service.records
    client.service.getrecordbyid(id=[name])
    record = client.service.records.get(name)
    if record is None:  # of 3.0, where the record is the root: OWSLib looks for records below the root only
        record = Csw30Record(etree.fromstring(client.service.response))
    assert record.title.startswith("Provinces and territories"), record.title
    assert record.bbox is not None
    read = ["csw:Record"]
    for label, namespace in _FORMATS.items():
        client.search(
            constraints=[client.filters.PropertyIsEqualTo("dc:identifier", name)], outputschema=namespace, esn="full"
        )
        assert len(client.service.records) == 1, f"{label}: {list(client.service.records)}"
        read.append(f"{label} {type(next(iter(client.service.records.values()))).__name__}")
    return f"{name[-8:]}: {', '.join(read)}"


@_for_both("GetDomain")
def _(client: _Client, _releases: int) -> str:
    client.service.getdomain("GetRecords.ElementSetName")
    assert client.service.results["values"] == ["brief", "summary", "full"], client.service.results
    client.service.getdomain("dc:subject", dtype="property")
    assert client.service.results["values"] == ["boundaries", "limites"], client.service.results
    return "ElementSetName: brief, summary, full; dc:subject: boundaries, limites"


@_for_both("an error")
def _(client: _Client, _releases: int) -> str:
    try:
        client.count(client.filters.PropertyIsEqualTo("dc:colour", "red"))
    except ExceptionReport as error:
        said = str(error)
    else:
        raise AssertionError("no ExceptionReport was raised")
    if "is not a property" not in said:
        raise AssertionError(said)
    return said[:80]


@case("OWSLib, CSW 2.0.2", "DescribeRecord")
def _(url: str, _releases: int) -> str:
    client = _Client(url, "2.0.2")
    client.service.describerecord()
    assert b"SchemaComponent" in client.service.response
    return "a component that includes the published schema"
