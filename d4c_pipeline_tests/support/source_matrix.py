"""The matrix of faults: behaviour of the origin x source x what has to come of it.

Run by `test_fault_matrix.py` and printed with its figures by `benchmarks/fetch_faults.py`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import geopandas
import shapely

from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from d4c_pipeline.model.sources import ArcGisSource, CkanSource, HttpSource, S3Source, StatCanTableSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.arcgis import ArcGisLayer
from d4c_pipeline.sources.ckan import CkanPackage
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.port import Fetched, Source
from d4c_pipeline.sources.s3 import S3Objects
from d4c_pipeline.sources.statcan_table import StatCanTable
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of, sha256_of
from d4c_pipeline_tests.support.feature_server import LAYER, FeatureServer

V2024 = Vintage.parse("2024")
RELEASE = Vintage.parse("2025-06-11T1230")
CHUNK = 1 << 18
_PAGE = 20  # rows
PATIENCE = Patience(
    attempts=3, first_wait=0.01, longest_wait=2.0, connect_timeout=2, read_timeout=0.4, whole_timeout=60
)


@dataclass(frozen=True)
class Case:
    """A behaviour and what has to come of it.

    `refetch`: how much may be sent twice, as a share of the file, beside a chunk. `error`: what a fetch ends with;
    `then_well`: whether the next fetch into the same folder brings the file.
    """

    name: str
    behaviour: o.Behaviour
    refetch: float = 0.0
    error: type[D4CError] | None = None
    then_well: bool = False
    whole_timeout: float = 60


CASES = (
    Case("behaves", o.good),
    Case("cut after n bytes", o.once(lambda h: h.part(o.CUT))),
    Case("connection reset", o.once(o.resets)),
    Case("silent after n bytes", o.once(o.stalls)),
    Case("cut every 100 kB", o.cuts_again_and_again),
    Case("chunked and cut", o.once(o.chunked_and_cut)),
    Case("no length, cut", o.once(o.without_length_and_cut), refetch=0.45),
    Case("length too long", o.once(lambda h: h.part(len(h.body), length=len(h.body) + 10)), refetch=1.0),
    Case("ignores Range", o.ignores_range, refetch=0.45),
    Case("sends another range", o.wrong_range, refetch=1.45),
    Case("refuses Range with 416", o.refuses_range, refetch=0.45),
    Case("changes under way", o.changes, refetch=0.45),
    Case("changes and lies", o.changes_and_lies, refetch=1.05),
    Case("broken byte, stated digest", o.states_digest, refetch=1.0),
    Case("408", o.busy(408)),
    Case("425", o.busy(425)),
    Case("429, Retry-After in seconds", o.busy(429, Retry_After="1")),
    Case("429, Retry-After as date", o.busy_until),
    Case("500", o.busy(500)),
    Case("503", o.busy(503, Retry_After="0")),
    Case("gzip content encoding", o.packs),
    Case("so slow that time is up", o.drips, error=TransientError, then_well=True, whole_timeout=1.0),
    Case("redirect loop", o.loops, error=PermanentError),
    Case("page with status 200", o.shows_a_page, error=PermanentError),
    Case("page that says it is a zip", o.shows_a_page_as_zip, error=PermanentError),
    Case("404", o.is_gone, error=PermanentError),
)


_PAGED = {
    "behaves",
    "cut after n bytes",
    "connection reset",
    "silent after n bytes",
    "chunked and cut",
    "408",
    "425",
    "429, Retry-After in seconds",
    "429, Retry-After as date",
    "500",
    "503",
    "gzip content encoding",
    "redirect loop",
    "page with status 200",
    "404",
}
"""Behaviours that can befall a page of a layer, which has neither ranges nor validators nor a file's first bytes."""


def http(origin: o.Origin, patience: Patience) -> tuple[Source, Vintage]:
    url = "https://data.example.ca/data.zip"
    declared = HttpSource(kind="http", urls=(url,))
    origins = {"https://data.example.ca": origin.url}
    return HttpFiles(declared, origins=origins, vintages=(V2024,), patience=patience), V2024


def statcan_table(origin: o.Origin, patience: Patience) -> tuple[Source, Vintage]:
    rest = "/t1/wds/rest"
    metadata = {"productId": "33100036", "releaseTime": "2025-06-11T08:30", "responseStatusCode": 0}
    origin.documents = {
        f"{rest}/getCubeMetadata": [{"status": "SUCCESS", "object": metadata}],
        f"{rest}/getFullTableDownloadCSV/33100036/en": {
            "status": "SUCCESS",
            "object": "https://www150.statcan.gc.ca/n1/tbl/csv/33100036-eng.zip",
        },
    }
    declared = StatCanTableSource(kind="statcan_table", table="33100036")
    origins = {"https://www150.statcan.gc.ca": origin.url}
    return StatCanTable(declared, origins=origins, patience=patience), RELEASE


def ckan(origin: o.Origin, patience: Patience) -> tuple[Source, Vintage]:
    resource = {"id": "r1", "url": "https://files.example.ca/x/data.zip", "format": "ZIP", "language": ["en"]}
    package = {"id": "p", "metadata_modified": "2025-06-11T12:30:00.5", "resources": [resource]}
    origin.documents = {"/data/api/3/action/package_show": {"success": True, "result": package}}
    origins = {"https://open.canada.ca": origin.url, "https://files.example.ca": origin.url}
    return CkanPackage(CkanSource(kind="ckan", package="p"), origins=origins, patience=patience), RELEASE


class _Listing(S3Objects):
    """The listing is boto3's affair and has tests of its own; here one object is there."""

    def _marks(self, vintage: Vintage | None) -> tuple[o.Any, ...]:
        from d4c_pipeline.sources.port import FileMark

        return (FileMark("s3://bucket/data.zip", None, "2024-05-04T23:30:00+00:00", None),)


def s3(origin: o.Origin, patience: Patience) -> tuple[Source, Vintage]:
    declared = S3Source(kind="s3", bucket="bucket", endpoint=origin.url)
    return _Listing(declared, origins={}, vintages=(V2024,), patience=patience), V2024


def arcgis(origin: o.Origin, patience: Patience) -> tuple[Source, Vintage]:
    """A layer of two pages; the behaviour is that of the pages, asked for as a file is in the other columns."""
    server = FeatureServer(_rows())

    def query(handler: o.Handler) -> dict[str, o.Any] | None:
        answer = server.query(handler)
        if "features" not in answer:
            return answer
        handler.origin.body = json.dumps(answer).encode()
        handler.behave()
        return None

    origin.documents = {LAYER: server.layer, f"{LAYER}/query": query}
    declared = ArcGisSource(kind="arcgis", layer=f"https://maps.example.ca{LAYER}", page_size=_PAGE)
    origins = {"https://maps.example.ca": origin.url}
    return ArcGisLayer(declared, origins=origins, vintages=(V2024,), patience=patience), V2024


@cache
def _rows() -> o.Any:
    """Two pages of rows, each page larger than what a cut lets through."""
    text = ["".join(random.Random(n).choices("abcdefghij", k=20_000)) for n in range(2 * _PAGE)]
    shapes = [shapely.box(n, 0, n + 1, 1) for n in range(len(text))]
    return geopandas.GeoDataFrame({"text": text}, geometry=shapes)


SOURCES: dict[str, Callable[[o.Origin, Patience], tuple[Source, Vintage]]] = {
    "http": http,
    "statcan_table": statcan_table,
    "ckan": ckan,
    "s3": s3,
    "arcgis": arcgis,
}


def cells() -> list[tuple[Case, str]]:
    """Every cell of the matrix: all behaviours for sources of files, those of pages for layers."""
    return [(case, source) for case in CASES for source in SOURCES if source != "arcgis" or case.name in _PAGED]


@dataclass(frozen=True)
class Outcome:
    """What came of a case: whether it was as expected, and the share of the file that was sent more than once."""

    survived: bool
    words: str
    refetched: float


def run(case: Case, source: str, into: Path) -> Outcome:
    """Run one cell of the matrix."""
    patience = Patience(**{**vars(PATIENCE), "whole_timeout": case.whole_timeout})
    with o.serving(o.Origin(case.behaviour)) as origin:
        opened, vintage = SOURCES[source](origin, patience)
        words = "fetched"
        try:
            fetched = opened.fetch(vintage, into)
        except D4CError as error:
            words = f"{type(error).__name__}: {error.cause}"
            if case.error is None or not isinstance(error, case.error) or not error.remedy:
                return Outcome(survived=False, words=words, refetched=0.0)
            if not case.then_well:
                left = [path.name for path in into.iterdir() if path.name.endswith((".part", ".zip"))]
                return Outcome(not left, words, 0.0)
            again, _ = SOURCES[source](origin, PATIENCE)
            fetched = again.fetch(vintage, into)
        else:
            if case.error is not None:
                return Outcome(survived=False, words="fetched what it should have refused", refetched=0.0)
        if source == "arcgis":
            return _of_rows(fetched[0], origin, words)
        file = fetched[0]
        right = hashlib.sha256(origin.body).hexdigest()
        whole = sha256_of(file) == right
        data = sum(each.sent for each in origin.asked if each.sent > 1000)
        packed = case.behaviour is o.packs
        refetched = 0.0 if packed else max(0.0, data / len(origin.body) - 1)
        enough = refetched <= case.refetch + CHUNK / len(origin.body)
        sound = whole and enough
        return Outcome(sound, words if sound else f"{words}, {data} bytes sent", refetched)


def _of_rows(fetched: Fetched, origin: o.Origin, words: str) -> Outcome:
    """What came of a layer: all rows in order, and no page asked for again but the one that was broken."""
    document = json.loads(path_of(fetched).read_bytes())
    rows = [row["attributes"]["text"] for row in document["features"]]
    whole = rows == list(_rows()["text"])
    data = sum(each.sent for each in origin.asked if each.sent > 1000)
    total = len(path_of(fetched).read_bytes())
    packed = origin.behaviour is o.packs
    refetched = 0.0 if packed else max(0.0, data / total - 1)
    sound = whole and refetched <= 0.5
    return Outcome(sound, words if sound else f"{words}, {data} bytes sent for {total}", refetched)
