"""Reads the history of each kind of source: what a bucket, portal, table, layer or server states of past versions.

A bucket has objects in dated folders, and past versions of objects; a CKAN portal the dates and the activity of a
package; a table its releases and corrections; a layer the dates of its edits; a server the files of other years.
Limits and sentences belong to `history`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.appraisal.bounded_web import BoundedWeb, SpentError
from d4c_pipeline.appraisal.words import amount
from d4c_pipeline.drafting import vintages
from d4c_pipeline.drafting.about import cube
from d4c_pipeline.drafting.facts import documents, plain
from d4c_pipeline.drafting.recognise import Recognised
from d4c_pipeline.model.errors import D4CError, SourceError
from d4c_pipeline.model.sources import StatCanTableSource
from d4c_pipeline.sources import files
from d4c_pipeline.sources.fetch.heads import read_mark
from d4c_pipeline.sources.port import FileMark
from d4c_pipeline.sources.statcan_table import release_time
from d4c_pipeline.transport.patience import FAILURES, HttpStatusError, http_date

UNREAD = (D4CError, *FAILURES)
"""The errors of a source that does not answer, or answers something else."""
_MOST_ACTIVITIES = 50
_MOST_PAGES = 5  # of a thousand objects each
_LONGEST_NOTE = 200  # characters
_FIRST_YEAR = 1900  # an earlier date stands for an unknown one
_EARLIER_YEARS = (-1, 1, -2, -3, -4, -5, -6)
_EARLIER_CENSUSES = (-5, 5, -10, -15)
_ABSENT = frozenset({400, 401, 403, 404, 410})
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Version:
    """A version of the data, or a change of them. `at`: a year, a day, or a minute in UTC; `size` in bytes.

    `is_complete`: the size is that of all data at that time, so that it compares with other complete versions.
    """

    at: str
    en: str
    fr: str
    size: int | None = None
    is_complete: bool = False
    change_en: str = ""
    change_fr: str = ""


@dataclass(frozen=True)
class Told:
    """What a source tells, with a note in both languages. `is_partial`: it did not answer every request."""

    versions: Sequence[Version]
    en: str = ""
    fr: str = ""
    is_partial: bool = False


def _of_file(web: BoundedWeb, address: str, _: Recognised) -> Iterator[Told]:
    """The server's date of the file, and files of other years at the address with its year replaced."""
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    dated = vintages.of_name(name)
    year = str(dated.value) if dated is not None and re.fullmatch(r"\d{4}", str(dated.value)) else None
    yield Told([*_marked(web, address, year)])
    if year is None:
        return
    is_census = year not in name
    for step in _EARLIER_CENSUSES if is_census else _EARLIER_YEARS:
        other = str(int(year) + step)
        try:
            yield Told([*_marked(web, _of_year(address, year, other, is_census=is_census), other)])
        except UNREAD as error:
            if not _is_absence(error):
                yield Told((), is_partial=True)


def _is_absence(error: Exception) -> bool:
    """Return whether an error says that there is no such file: a status, or a page in its place."""
    return isinstance(error, SourceError) or (isinstance(error, HttpStatusError) and error.status in _ABSENT)


def _of_year(address: str, year: str, other: str, *, is_census: bool) -> str:
    """Return an address with its year replaced; a boundary file of a census has two digits of it in its name."""
    parts = urlsplit(address)
    path = re.sub(rf"(?<!\d){year}(?!\d)", other, parts.path)
    if is_census:
        folder, _, name = path.rpartition("/")
        path = f"{folder}/{re.sub(rf'(?<=[a-z]){year[2:]}(?=a_[ef])', other[2:], name)}"
    return urlunsplit(parts._replace(path=path))


def _marked(web: BoundedWeb, address: str, year: str | None) -> Iterator[Version]:
    name = files.file_names([address])[0]
    mark = read_mark(web, address, name)
    day = _day_of(mark)
    if year is None and day is None:
        return
    en = name if day is None else f"{name}, last changed on {day}"
    fr = name if day is None else f"{name}, modifié le {day}"
    yield Version(year or str(day), en, fr, mark.length, is_complete=year is not None)


def _day_of(mark: FileMark) -> str | None:
    moment = http_date(mark.last_modified)
    return None if moment is None or moment.year < _FIRST_YEAR else f"{moment:%Y-%m-%d}"


def _of_package(web: BoundedWeb, _: str, recognised: Recognised) -> Iterator[Told]:
    """The dates of the package and its resources, and the package's activity where the portal shows it."""
    action = f"{str(recognised.declared['portal']).rstrip('/')}/api/3/action"
    query = urlencode({"id": recognised.declared["package"]})
    package = _result(web.document(f"{action}/package_show?{query}"))
    if not isinstance(package, dict):
        raise SourceError("The portal sent no package", "Open the address in a browser")
    yield Told(
        [
            *_dated(package.get("metadata_created"), "Package created", "Paquet créé"),
            *_dated(package.get("metadata_modified"), "Package last changed", "Dernière modification du paquet"),
            *(version for each in documents(package.get("resources")) for version in _of_resource(each)),
        ]
    )
    try:
        activities = documents(
            _result(web.document(f"{action}/package_activity_list?{query}&limit={_MOST_ACTIVITIES}"))
        )
    except UNREAD:
        yield Told(
            (), en="The portal does not show the activity of the package.",
            fr="Le portail ne montre pas l'activité du paquet.",
        )  # fmt: skip
        return
    kinds = {
        "new package": ("Package created", "Paquet créé"),
        "changed package": ("Package changed", "Paquet modifié"),
    }
    for each in activities:
        if (kind := kinds.get(str(each.get("activity_type")))) is not None:
            yield Told([*_dated(each.get("timestamp"), *kind)])


def _of_resource(resource: Mapping[str, Any]) -> Iterator[Version]:
    translated = resource.get("name_translated")
    names = cast("Mapping[str, Any]", translated) if isinstance(translated, dict) else {}
    given = resource.get("name") or resource.get("id")
    en, fr = (plain(str(names.get(language) or given or ""))[:_LONGEST_NOTE] for language in ("en", "fr"))
    size = resource.get("size")
    stated = int(size) if isinstance(size, int | float) and 0 < size < 1 << 60 else None
    created, changed = resource.get("created"), resource.get("last_modified")
    yield from _dated(created, f"{en}: added", f"{fr} : ajouté", None if changed else stated)
    yield from _dated(changed, f"{en}: last changed", f"{fr} : dernière modification", stated)


def _result(document: Any) -> Any:
    return cast("dict[str, Any]", document).get("result") if isinstance(document, dict) else None


def _of_table(web: BoundedWeb, _: str, recognised: Recognised) -> Iterator[Told]:
    """The first issue, the newest release and the corrections of a table."""
    table = str(recognised.declared["table"])
    service = str(StatCanTableSource.model_fields["service"].default)
    body = json.dumps([{"productId": int(table)}]).encode()
    metadata = cube.unwrapped(web.document(f"{service}/getCubeMetadata", body))
    if not cube.is_cube(metadata):
        raise SourceError(f"The service has no table {table}", "Correct the number of the table")
    period = f"{plain(str(metadata.get('cubeStartDate') or ''))} - {plain(str(metadata.get('cubeEndDate') or ''))}"[:60]
    corrections = [
        version
        for each in documents(metadata.get("correction"))
        for version in _dated(
            each.get("correctionDate"),
            f"Correction: {plain(str(each.get('correctionNoteEn') or ''))[:_LONGEST_NOTE]}",
            f"Correction : {plain(str(each.get('correctionNoteFr') or ''))[:_LONGEST_NOTE]}",
        )
    ]
    yield Told(
        [
            *_dated(metadata.get("issueDate"), "First issue", "Première diffusion"),
            *_dated(
                _released(metadata), f"Newest release, data of {period}", f"Dernière diffusion, données : {period}"
            ),
            *corrections,
        ],
        en="The service keeps the newest release only.",
        fr="Le service ne conserve que la dernière diffusion.",
    )


def _released(metadata: Mapping[str, Any]) -> str | None:
    try:
        return release_time(str(metadata.get("releaseTime"))).isoformat()
    except SourceError:
        return None


def _of_layer(web: BoundedWeb, _: str, recognised: Recognised) -> Iterator[Told]:
    """The dates of edits that an ArcGIS layer states."""
    layer = web.document(f"{recognised.declared['layer']}?f=json")
    info = cast("dict[str, Any]", layer).get("editingInfo") if isinstance(layer, dict) else None
    stated = cast("dict[str, Any]", info) if isinstance(info, dict) else {}
    names = (
        ("dataLastEditDate", "Data last edited", "Dernière modification des données"),
        ("schemaLastEditDate", "Columns last edited", "Dernière modification des colonnes"),
        ("lastEditDate", "Layer last edited", "Dernière modification de la couche"),
    )
    yield Told([version for name, en, fr in names for version in _dated(_of_epoch(stated.get(name)), en, fr)])


def _of_epoch(milliseconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _of_bucket(web: BoundedWeb, _: str, recognised: Recognised) -> Iterator[Told]:
    """The objects below a prefix by the date in their path, else by the day of their change, with past versions."""
    declared = recognised.declared
    bucket, prefix, region = str(declared["bucket"]), str(declared["prefix"]), declared.get("region")
    host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
    # The certificate of Amazon does not cover a host name with a dotted bucket.
    place = f"https://{host}/{bucket}/" if "." in bucket else f"https://{bucket}.{host}/"
    found = _Objects(prefix)
    is_cut = False
    try:
        try:
            is_cut = _listed(web, f"{place}?versions&max-keys=1000&prefix={quote(prefix)}", "Version", found)
        except UNREAD:
            # A public bucket seldom lets strangers list past versions.
            found = _Objects(prefix)
            is_cut = _listed(web, f"{place}?list-type=2&max-keys=1000&prefix={quote(prefix)}", "Contents", found)
    except SpentError:
        is_cut = True
    yield Told(found.versions())
    if is_cut:
        raise SpentError


@dataclass(frozen=True)
class _Group:
    """Objects that belong together: of the date `at` in their path (`is_dated`), changed on that day, or replaced."""

    at: str
    is_dated: bool
    is_past: bool


class _Objects:
    """Objects of a listing, by the date in their path, else by the day of their change; past versions by that day."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._groups: dict[_Group, list[tuple[str, int]]] = {}

    def add(self, entry: Any) -> None:
        """Add an entry of a listing; the mark of a folder and a malformed entry count as none."""
        key, day, size = (entry.findtext(f"{_S3}{name}") or "" for name in ("Key", "LastModified", "Size"))
        day = day[:10]
        if key.endswith("/") or not re.fullmatch(r"\d{4}-\d\d-\d\d", day) or not re.fullmatch(r"[0-9]{1,18}", size):
            return
        is_past = entry.findtext(f"{_S3}IsLatest") == "false"
        dated = None if is_past else _dated_path(key.removeprefix(self._prefix))
        self._groups.setdefault(_Group(dated or day, dated is not None, is_past), []).append((day, int(size)))

    def versions(self) -> list[Version]:
        """Return the version of each group."""
        return [_of_objects(group, objects) for group, objects in self._groups.items()]


def _of_objects(group: _Group, objects: Sequence[tuple[str, int]]) -> Version:
    number, last, size = len(objects), max(day for day, _ in objects), sum(size for _, size in objects)
    if group.is_past:
        return Version(
            group.at,
            f"Earlier versions of objects: {number}, {amount(size)}",
            f"Versions antérieures d'objets : {number}, {amount(size, 'fr')}",
        )
    many = number > 1
    return Version(
        group.at,
        f"{number} {'objects' if many else 'object'}, last changed on {last}",
        f"{number} {'objets' if many else 'objet'}, dernière modification le {last}",
        size,
        # Objects that changed on one day are seldom all of the data.
        is_complete=group.is_dated,
    )


def _listed(web: BoundedWeb, url: str, tag: str, found: _Objects) -> bool:
    """Add the objects of a listing, page by page; return whether it has more pages than are read."""
    names = {
        "NextContinuationToken": "continuation-token",
        "NextKeyMarker": "key-marker",
        "NextVersionIdMarker": "version-id-marker",
    }
    following = ""
    for _ in range(_MOST_PAGES):
        root = _xml(web.content(f"{url}{following}"))
        for entry in root.iter(f"{_S3}{tag}"):
            found.add(entry)
        stated = {to: text for name, to in names.items() if (text := root.findtext(f"{_S3}{name}"))}
        if not stated:
            return False
        following = "".join(f"&{name}={quote(text, safe='')}" for name, text in stated.items())
    return True


def _dated_path(path: str) -> str | None:
    """Return the day in a path (`2024/06/03/a.csv`), else the date in its first part that has one."""
    parts = path.strip("/").split("/")
    if (day := vintages.of_name(f"{'-'.join(parts)}.x")) is not None and len(str(day.value)) == 10:
        return str(day.value)
    found = (vintages.of_name(f"{part}.x") for part in parts)
    return next((str(each.value) for each in found if each is not None), None)


def _xml(content: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SourceError("The bucket sent no listing", "Open the address in a browser") from error


def _dated(stated: Any, en: str, fr: str, size: int | None = None) -> Iterator[Version]:
    """Yield the version of a stated date; none for a text that is no date."""
    try:
        moment = datetime.fromisoformat(str(stated or ""))
        # A portal writes UTC without a zone.
        moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment
    except (ValueError, OverflowError):
        return
    if moment.year >= _FIRST_YEAR:
        is_day = len(str(stated)) <= 10
        yield Version(f"{moment:%Y-%m-%d}" if is_day else f"{moment:%Y-%m-%d %H:%M}", en, fr, size)


HISTORIES: Mapping[str, Callable[[BoundedWeb, str, Recognised], Iterator[Told]]] = {
    "http": _of_file,
    "ckan": _of_package,
    "statcan_table": _of_table,
    "arcgis": _of_layer,
    "s3": _of_bucket,
}
