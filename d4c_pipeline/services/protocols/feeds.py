"""Feeds of some releases: `/feeds/releases.en.atom?dataset=...&province=QC`, answered from counts and files of changes.

The entries are those of `catalogue.feeds`, rows of changes belong to `services.release_changes`. Feeds of all releases
are files of the catalogue.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import pyproj
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.catalogue import feeds
from d4c_pipeline.metadata.published import TONGUES, Bounds, PublishedMetadata, Tongue, boxes_of
from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.errors import D4CError, OverdueError
from d4c_pipeline.model.provinces import NAMES, province_of
from d4c_pipeline.services import record_port
from d4c_pipeline.services.discovery.answers import has_current
from d4c_pipeline.services.discovery.parameters import box_tree, check_names, listed, refused, single
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.release_changes import ChangedRows, Wanted, changes_file, key_pattern
from d4c_pipeline.services.subset.area import boxes_around
from d4c_pipeline.services.subset.releases import place_of
from d4c_pipeline.services.subsetting import subset_lane, subset_service

_PATH = "feeds"
_TYPES = {".atom": feeds.ATOM, ".json": feeds.JSON_FEED}
_PARAMETERS = ("dataset", "column", "key", "bbox", "province")
_MOST_DATASETS, _MOST_READ = 20, 1_000  # more are read if each dataset has a feed's page
_REMEMBERED = 20_000  # answers of files of changes, which never change
_SECONDS = 30.0  # for all files of changes of a request; each has a limit of its own
_DEGREES = "OGC:CRS84"
_WORDS: Mapping[Tongue, tuple[str, Mapping[str, str]]] = {
    "en": ("Changes of", {"column": "column", "key": "key", "bbox": "box", "province": "province"}),
    "fr": ("Changements de", {"column": "colonne", "key": "clé", "bbox": "étendue", "province": "province"}),
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Narrowed:
    """What a feed is narrowed to. `box`: west, south, east, north in degrees; `provinces`: codes."""

    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    key: str | None
    box: Bounds | None
    provinces: tuple[str, ...]

    @property
    def by_rows(self) -> bool:
        """Whether only the rows of changes tell if a release belongs to the feed."""
        return self.key is not None or self.box is not None


def _routes(services: Services) -> Sequence[BaseRoute]:
    @lru_cache(maxsize=_REMEMBERED)
    def rows(_sha256: str, file: str, wanted: Wanted) -> int:
        return ChangedRows(subset_service(services).engine, file, wanted, most_cells=0).count()

    def touched(release: PublishedMetadata, asked: _Narrowed, until: float) -> bool:
        """Return whether the changes of a release touch what the feed is narrowed to; True where that is unknown.

        Raises TransientError when a file had to be read after `until` (time.monotonic).
        """
        counted = release.counts
        if not (asked.columns or asked.provinces or asked.by_rows):
            return True
        if counted is None:
            return False
        if asked.columns and not any(name in counted["column"] for name in asked.columns):
            return False
        if asked.provinces and not any(code in counted.get("province", {}) for code in asked.provinces):
            return False
        file = changes_file(release)
        # Changes that are counted only are larger than the data, and those of a withdrawn release are not to be read:
        # none of its readers should miss it.
        if not asked.by_rows or file is None or release.withdrawn is not None:
            return True
        if (asked.key is not None and not release.key) or (asked.box is not None and release.crs is None):
            return False
        columns = tuple(name for name in asked.columns if name in counted["column"])
        boxes = None if asked.box is None else _boxes(asked.box, str(release.crs))
        wanted = Wanted(columns, (), asked.key, boxes=boxes)
        if time.monotonic() > until:
            raise OverdueError(
                "Reading the changes took too long",
                "Ask again, since what was read is remembered, or name fewer datasets",
            )
        try:
            return rows(file.sha256, place_of(services.index.store, file.address), wanted) > 0
        except (ProblemError, D4CError) as error:
            if isinstance(error, ProblemError) and error.status is HTTPStatus.BAD_REQUEST:
                return False  # its rows were compared whole, since their key identified none
            _log.exception("The changes of %s can't be read: narrowed feeds have it", release.name)
            return True

    def answer(request: Request) -> Response:
        language, suffix = request.path_params["language"], f".{request.path_params['form']}"
        if language not in TONGUES or suffix not in _TYPES:
            all_feeds = ", ".join(f"/{_PATH}/releases.{tongue}{form}" for tongue in TONGUES for form in _TYPES)
            raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such feed", f"Use one of {all_feeds}")
        asked = _asked(request)
        known, until = _releases(services, asked.datasets), time.monotonic() + _SECONDS
        newest = itertools.islice((release for release in known if touched(release, asked, until)), feeds.PAGE)
        entries = [*newest][::-1]
        return _answered(services, request, "fr" if language == "fr" else "en", suffix, entries, known[0].site)

    route = f"/{_PATH}/releases.{{language}}.{{form}}"
    return [Route(route, subset_lane(services).endpoint(answer), methods=["GET"])]


def _asked(request: Request) -> _Narrowed:
    query = request.query_params
    check_names(query.keys(), _PARAMETERS)
    datasets = listed(single(query, "dataset") or "", "dataset")
    if not datasets or len(datasets) > _MOST_DATASETS:
        raise refused(
            f"dataset names {len(datasets)} datasets",
            f"Name 1 to {_MOST_DATASETS}, with commas; /catalogue/releases.en.atom is the feed of all",
        )
    provinces: list[str] = []
    for text in listed(single(query, "province") or "", "province"):
        code = province_of([text])
        if code is None:
            raise refused(
                f"There is no province '{text[:60]}'", f"Write one of {', '.join(NAMES)}, its letters or name"
            )
        provinces.append(code)
    box = single(query, "bbox")
    return _Narrowed(
        datasets=tuple(datasets),
        columns=tuple(listed(single(query, "column") or "", "column")),
        key=key_pattern(query),
        box=None if box is None else tuple(box_tree(box)["args"][1]["bbox"]),
        provinces=tuple(provinces),
    )


def _releases(services: Services, datasets: Sequence[str]) -> list[PublishedMetadata]:
    """Return releases of datasets, the newest first: of each dataset its newest, an equal part of those that are read.

    Raises ProblemError (404) for a dataset without any.
    """
    most, newest_first = max(feeds.PAGE, _MOST_READ // len(datasets)), f"{record_port.PUBLISHED_AT} DESC, id DESC"
    with services.index.reading() as cursor:
        rows = record_port.select(
            cursor,
            "dataset IN (SELECT unnest(?))",
            [list(datasets)],
            rest=f"QUALIFY row_number() OVER (PARTITION BY dataset ORDER BY {newest_first}) <= {most}",
        )
        if unknown := [name for name in datasets if not any(row.dataset == name for row in rows)]:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"No release of '{unknown[0][:80]}' is published",
                "See the list of datasets: /catalogue/catalog.json",
            )
        found = record_port.published(cursor, rows)
    return sorted(found.values(), key=lambda each: (each.published_at, each.name), reverse=True)


def _answered(
    services: Services,
    request: Request,
    language: Tongue,
    suffix: str,
    releases: Sequence[PublishedMetadata],
    site: Site,
) -> Response:
    query = str(request.query_params)
    feed = feeds.NarrowedFeed(
        kind="releases",
        language=language,
        title=_title(language, request),
        at=f"{services.base_url(request)}/{_PATH}/releases.{language}{suffix}?{query}",
        query=query,
    )
    content = feeds.narrowed(feed, releases, site, suffix)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "public, no-cache", "X-Content-Type-Options": "nosniff"}
    if has_current(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers={**headers, "Content-Type": _TYPES[suffix]})


def _title(language: Tongue, request: Request) -> str:
    start, words = _WORDS[language]
    rest = [f"{words[name]} {value}" for name, value in request.query_params.items() if name != "dataset"]
    return plain(", ".join([f"{start} {request.query_params['dataset']}", *rest]))


@lru_cache(maxsize=1_000)
def _boxes(box: Bounds, crs: str) -> tuple[Bounds, ...]:
    """Return the boxes around a box of degrees in the CRS of data."""
    degrees, own = pyproj.CRS.from_user_input(_DEGREES), pyproj.CRS.from_user_input(crs)
    return tuple(found for each in boxes_of(box) for found in boxes_around(each, degrees, own))


PROTOCOL = Protocol(name="feeds", title="Feeds of chosen releases", path=_PATH, routes=_routes)
