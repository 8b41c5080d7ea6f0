"""sickle and oaipmh-scythe harvest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from oaipmh_scythe import HTTPConfig, Scythe
from sickle import Sickle
from sickle.oaiexceptions import CannotDisseminateFormat, IdDoesNotExist, NoRecordsMatch

from client_cases import case

PREFIXES = ("oai_dc", "oai_datacite", "iso19139", "iso19115-3", "dif", "fgdc", "dcat")


def _counted(records: Iterable[Any], expected: int) -> str:
    began = time.perf_counter()
    names: set[str] = set()
    deleted = size = 0
    for record in records:
        names.add(record.header.identifier)
        deleted += bool(record.header.deleted)
        size += len(record.raw)
    spent = time.perf_counter() - began
    assert len(names) == expected, f"{len(names)} records of {expected}"
    assert deleted == 1, f"{deleted} deleted records of 1"
    return f"{expected:,} records, {size / 1e6:.0f} MB in {spent:.1f} s: {expected / spent:,.0f} a second"


def _sickle(url: str) -> Sickle:
    return Sickle(f"{url}/oai", timeout=120)


def _harvest_by_sickle(url: str, releases: int, *, prefix: str) -> str:
    return _counted(_sickle(url).ListRecords(metadataPrefix=prefix), releases)


def _harvest_by_scythe(url: str, releases: int, *, prefix: str) -> str:
    with Scythe(f"{url}/oai", http_config=HTTPConfig(timeout=120)) as scythe:
        return _counted(scythe.list_records(metadata_prefix=prefix), releases)


for _prefix in PREFIXES:
    case("sickle", f"ListRecords {_prefix}")(partial(_harvest_by_sickle, prefix=_prefix))
    case("oaipmh-scythe", f"ListRecords {_prefix}")(partial(_harvest_by_scythe, prefix=_prefix))


@case("sickle", "Identify")
def _(url: str, _releases: int) -> str:
    found = _sickle(url).Identify()
    assert (found.protocolVersion, found.deletedRecord) == ("2.0", "persistent")
    return f"{found.repositoryName}, {found.granularity}"


@case("sickle", "ListMetadataFormats")
def _(url: str, _releases: int) -> str:
    found = [each.metadataPrefix for each in _sickle(url).ListMetadataFormats()]
    assert found == [*PREFIXES], found
    return ", ".join(found)


@case("sickle", "ListSets, and the records of each kind of set")
def _(url: str, releases: int) -> str:
    sickle = _sickle(url)
    specs = [each.setSpec for each in sickle.ListSets()]
    assert len(specs) == len(set(specs))
    collections = [spec for spec in specs if spec.startswith("collection:")]
    counts = {
        spec: sum(1 for _ in sickle.ListIdentifiers(metadataPrefix="oai_dc", set=spec))
        for spec in ("collection", collections[-1], "package", "subject:boundaries")
    }
    assert counts["collection"] == counts["package"] == releases, counts
    return f"{len(specs)} sets; {counts}"


@case("sickle", "ListIdentifiers by time")
def _(url: str, releases: int) -> str:
    sickle = _sickle(url)
    stamps = sorted({each.datestamp for each in sickle.ListIdentifiers(metadataPrefix="oai_dc")})
    later = sum(1 for _ in sickle.ListIdentifiers(**{"metadataPrefix": "oai_dc", "from": stamps[-1]}))
    earlier = sum(1 for _ in sickle.ListIdentifiers(metadataPrefix="oai_dc", until=stamps[-2]))
    assert later + earlier == releases, (later, earlier)
    return f"{earlier} until {stamps[-2]}, {later} from {stamps[-1]}"


@case("sickle", "GetRecord in every format")
def _(url: str, _releases: int) -> str:
    sickle = _sickle(url)
    header = next(each for each in sickle.ListIdentifiers(metadataPrefix="fgdc") if not each.deleted)
    sizes = {
        prefix: len(sickle.GetRecord(identifier=header.identifier, metadataPrefix=prefix).raw) for prefix in PREFIXES
    }
    return ", ".join(f"{prefix} {size}" for prefix, size in sizes.items())


def _raises(error: type[Exception], ask: Callable[[], Any]) -> None:
    try:
        ask()
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


@case("sickle", "errors")
def _(url: str, _releases: int) -> str:
    sickle = _sickle(url)
    _raises(NoRecordsMatch, lambda: sickle.ListRecords(metadataPrefix="oai_dc", until="2001-01-01"))
    _raises(IdDoesNotExist, lambda: sickle.GetRecord(identifier="urn:d4c:nothing", metadataPrefix="oai_dc"))
    _raises(CannotDisseminateFormat, lambda: sickle.ListRecords(metadataPrefix="marc21"))
    return "noRecordsMatch, idDoesNotExist, cannotDisseminateFormat"


@case("oaipmh-scythe", "Identify, ListMetadataFormats, ListSets")
def _(url: str, _releases: int) -> str:
    with Scythe(f"{url}/oai") as scythe:
        name = scythe.identify().repositoryName
        formats = [each.metadataPrefix for each in scythe.list_metadata_formats()]
        sets = sum(1 for _ in scythe.list_sets())
    assert formats == [*PREFIXES], formats
    return f"{name}: {len(formats)} formats, {sets} sets"
