"""The subsets of one server: from a request to a plan, and from a plan to bytes that one slow reader can't hold up.

A small result is made completely before it is sent, so that nobody's connection holds memory of DuckDB or a place in
the lane of subsets, in which protocols call `answer` and `sent`. A larger one is sent while it is made; each address
may have two of these.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services.catalogue_index import CatalogueIndex
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import formats
from d4c_pipeline.services.subset.engine import SECONDS as FOOTER_SECONDS
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.plan import Plan, plan
from d4c_pipeline.services.subset.releases import Chosen, Named, chosen_release, named_release
from d4c_pipeline.services.subset.request import read_request
from d4c_pipeline.services.subset.source import Source, Sources, Statistics, is_remote

SECONDS = 120.0
"""Time for a subset that is answered at once."""
WHOLE_BYTES = 8 << 20
"""A result up to this size is made before it is sent."""
_STREAMS, _STREAMS_EACH = 12, 2
_REMEMBERED = 500
_PIECE = 1 << 20


@dataclass(frozen=True)
class Answer:
    """The bytes of a result: complete, or as a stream whose `close` has to be called."""

    plan: Plan
    whole: bytes | None
    stream: Iterator[bytes] | None = None


class SubsetService:
    """Plans and makes subsets; a context manager. `folder`: for files of formats that don't stream."""

    def __init__(self, index: CatalogueIndex, folder: Path, settings: JobSettings) -> None:
        self._index, self._folder, self._settings = index, folder, settings
        # One thread for each query: a small subset takes 11 ms of processor time with one and 16 with two, a million
        # polygons as long with one as with two. Files at an address are waited for, by several threads at once.
        is_here = index.store.local_path(CATALOGUE_PARQUET) is not None
        self.engine = Engine(threads=1 if is_here else None, seconds=FOOTER_SECONDS)
        self._sources = Sources(self.engine, seconds=FOOTER_SECONDS)
        self._releases: OrderedDict[tuple[str | None, ...], Chosen] = OrderedDict()
        self._streams: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> SubsetService:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def release(self, dataset: str, vintage: str | None = None, version: str = "latest") -> Chosen:
        """Return the release of a request, with its files. Raises ProblemError as `chosen_release`."""
        # A state of the catalogue names the same release each time.
        key = (self._index.snapshot.identity, dataset, vintage, version)
        with self._lock:
            found = self._releases.get(key)
        if found is not None and all(is_remote(file) or Path(file).exists() for file in found.files):
            return found
        with self._index.reading() as cursor:
            found = chosen_release(cursor, self._index.store, dataset, vintage, version)
        with self._lock:
            self._releases[key] = found
            if len(self._releases) > _REMEMBERED:
                self._releases.popitem(last=False)
        return found

    def named(self, dataset: str, vintage: str | None = None, version: str = "latest") -> Named:
        """Return the release of a request that reads no file. Raises ProblemError as `named_release`."""
        with self._index.reading() as cursor:
            return named_release(cursor, dataset, vintage, version)

    def source(self, release: Chosen) -> Source:
        """Return what the files of a release state."""
        return self._sources.of(release.files, release.sha256)

    def statistics(self, release: Chosen) -> dict[str, Statistics]:
        """Return what the files of a release state of the values of each column."""
        return self._sources.statistics(release.files, release.sha256)

    def plan(self, inputs: Any) -> Plan:
        """Return the plan of a request. Raises ProblemError for whatever is wrong with it."""
        request = read_request(inputs)
        release = self.release(request.dataset, request.vintage, request.version)
        return plan(request, release, self.source(release), most_cells=self._settings.cells)

    def is_small(self, planned: Plan) -> bool:
        """Return whether a result is made within a request."""
        return planned.cells <= self._settings.sync_cells

    def answer(self, planned: Plan, client: str) -> Answer:
        """Make a result for the address `client`: complete if it is small, else its first bytes.

        Raises ProblemError when too many large ones are being sent (429 to this address, 503 to all), and what the rows
        raise before the first byte.
        """
        made = self._by_stream(planned) if planned.request.format.streams else self._by_file(planned)
        whole, stream = self.sent(made, client)
        return Answer(planned, whole, stream)

    def sent(self, made: Iterator[bytes], client: str) -> tuple[bytes | None, Iterator[bytes] | None]:
        """Return what `made` yields: all of it if it is small, else a stream that has to be closed."""
        parts: list[bytes] = []
        size = 0
        for part in made:
            parts.append(part)
            size += len(part)
            if size > WHOLE_BYTES:
                break
        else:
            return b"".join(parts), None
        return None, self._continued(parts, made, client)

    def _by_stream(self, planned: Plan) -> Iterator[bytes]:
        return formats.stream(planned, self.engine, SECONDS)

    def _by_file(self, planned: Plan) -> Iterator[bytes]:
        with TemporaryDirectory(prefix=".subset-", dir=self._folder) as folder:
            path = Path(folder) / planned.file_name
            formats.write(planned, self.engine, path, seconds=SECONDS)
            with path.open("rb") as file:
                while part := file.read(_PIECE):
                    yield part

    def _continued(self, parts: list[bytes], made: Iterator[bytes], client: str) -> Iterator[bytes]:
        with self._lock:
            if self._streams[client] >= _STREAMS_EACH:
                _close(made)
                raise _busy(HTTPStatus.TOO_MANY_REQUESTS, f"You read {_STREAMS_EACH} large subsets already")
            if self._streams.total() >= _STREAMS:
                _close(made)
                raise _busy(HTTPStatus.SERVICE_UNAVAILABLE, "Too many large subsets are being sent")
            self._streams[client] += 1
        return _Stream(self, parts, made, client)

    def ended(self, client: str) -> None:
        """A stream of `client` has ended."""
        with self._lock:
            self._streams[client] -= 1
            if self._streams[client] <= 0:
                del self._streams[client]


class _Stream(Iterator[bytes]):
    """A result that is sent while it is made; it holds a place until it is closed."""

    def __init__(self, service: SubsetService, parts: list[bytes], made: Iterator[bytes], client: str) -> None:
        self._service, self._parts, self._made, self._client = service, parts, made, client
        self._open = True

    def __next__(self) -> bytes:
        if self._parts:
            return self._parts.pop(0)
        return next(self._made)

    def close(self) -> None:
        """End the query and give the place back."""
        if self._open:
            self._open = False
            _close(self._made)
            self._service.ended(self._client)


def _close(made: Iterator[bytes]) -> None:
    if hasattr(made, "close"):
        made.close()  # pyright: ignore[reportAttributeAccessIssue]


def _busy(status: HTTPStatus, detail: str) -> ProblemError:
    return ProblemError(
        status,
        detail,
        "Ask again, or ask for a job: Prefer: respond-async",
        headers={"Retry-After": "10"},
    )


def pinned(planned: Plan, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a job needs to make the result later: the inputs with the exact release, and its facts."""
    release = planned.release
    exact = {**inputs, "vintage": release.vintage, "version": release.version}
    return {
        "inputs": exact,
        "release": vars(replace(release)),
        "file_name": planned.file_name,
        "media_type": planned.request.format.media_type,
        "rows": planned.rows,
        "provenance": planned.provenance,
    }
