"""The vintages that a source serves, compared by content with the retained files.

Dates and validators mislead: an export is always "modified now", a portal touches its records, two servers behind an
address send different ETags for the same file. Noticing, 'd4c publish' and `raw` all decide here, so that they agree.
The consequences of a new vintage belong to `noticing.py`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, StorageError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.content import content_of
from d4c_pipeline.sources.dating import is_ahead
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.payload import same_payload
from d4c_pipeline.sources.port import Arrived, FileMark, Fingerprint, Source
from d4c_pipeline.transport.patience import Patience, http_date
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import native_path

TRIAL_BYTES = 64 << 20
"""Files up to this total size (bytes) are fetched and compared if nothing else shows a change."""

_TRIAL = Patience(
    attempts=2, first_wait=0.5, longest_wait=2.0, connect_timeout=5.0, read_timeout=8.0, whole_timeout=10.0
)
_CANDIDATES = 3  # retained vintages to compare with; back ends differ by a day or two
_THIS_MOMENT = timedelta(minutes=5)
_PACKED = frozenset({".zip", ".kmz", ".xlsx", ".gz", ".tgz"})  # the same content may have another length


@dataclass(frozen=True)
class Seen:
    """The result of an observation: the `fingerprint` to record, and the files whose edits it can't show."""

    fingerprint: str
    blind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """The vintages at a source, oldest first; `dated` is the new date of files with a retained vintage's content."""

    vintages: tuple[Vintage, ...]
    dated: Vintage | None = None

    @property
    def words(self) -> str | None:
        """Return the sentence that the source changed the date of unchanged files; None where it did not."""
        if self.dated is None:
            return None
        return f"the source says {self.dated} now and serves what is retained as {self.vintages[-1]}, so nothing is new"


def is_dated_by_its_files(dataset: Dataset) -> bool:
    """Return whether the vintage is the date of the source's files, which can change without a change of content."""
    return dataset.fixed_vintages is None and not dataset.source.names_vintage


def served_vintages(deployment: Deployment, dataset: Dataset, source: Source) -> tuple[Vintage, ...]:
    """Return the vintages at the source, oldest first, as `served` finds them."""
    return served(deployment, dataset, source).vintages


def served(deployment: Deployment, dataset: Dataset, source: Source) -> Served:
    """Return the vintages at the source.

    Where the date of the files is the vintage, files with a new date and the content of a retained vintage are that
    vintage, not a new one. Raises what the source raises.
    """
    found = source.discover()
    retained = deployment.ledger.natives.vintages(dataset.id)
    if not is_dated_by_its_files(dataset) or not retained or found[-1] in retained:
        return Served(found)
    same = _retained_as(deployment, dataset, source, found[-1], _candidates(retained))
    return Served(found) if same is None else Served((same,), found[-1])


def observed(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, source: Source, known: Observation | None
) -> Seen:
    """Return the fingerprint of a vintage at its source; for unchanged content, the fingerprint of the last fetch.

    `known` is the ledger's observation of the partition. Raises what the source raises.
    """
    fingerprint = source.observe(vintage)
    if known is None or known.retained is None or (fingerprint.digest == known.retained and not fingerprint.blind):
        return Seen(fingerprint.digest)
    natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
    same = _is_retained(deployment, dataset, source, vintage, fingerprint, vintage, natives)
    if same:
        return Seen(known.retained)
    if same is None:
        return Seen(fingerprint.digest, fingerprint.blind)
    if fingerprint.digest == known.retained:  # the marks show no change, but the content differs
        return Seen(hashlib.sha256(f"{fingerprint.digest} edited".encode()).hexdigest())
    return Seen(fingerprint.digest)


def held_as(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, source: Source, fetched: Sequence[tuple[Arrived, str]]
) -> Vintage | None:
    """Return the retained vintage with the content that was fetched for `vintage`, None when the content is new.

    `fetched` are all files with their sha256 (hex).
    """
    if not is_dated_by_its_files(dataset):
        return None
    retained = [each for each in deployment.ledger.natives.vintages(dataset.id) if each != vintage]
    for candidate in _candidates(retained):
        natives = deployment.ledger.natives.current(dataset.id, candidate, dataset.source.addresses(candidate))
        if _hold_the_same(deployment, dataset, candidate, _data(natives, source), _data_of(fetched, source)):
            return candidate
    return None


def retained_copy(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    arrived: Arrived,
    sha256: str,
    known: Sequence[NativeFile],
) -> NativeFile | None:
    """Return the file of `known` with the content that arrived from the same address, however packed; else None."""
    for native in known:
        if native.url == arrived.url and _holds(deployment, dataset, vintage, native, arrived, sha256):
            return native
    return None


def _candidates(retained: Sequence[Vintage]) -> list[Vintage]:
    # A vintage in the future comes from a server's wrong clock, so no files count as that vintage.
    past = [vintage for vintage in retained if not is_ahead(vintage.start)]
    return past[::-1][:_CANDIDATES]


def _retained_as(
    deployment: Deployment, dataset: Dataset, source: Source, at: Vintage, candidates: Sequence[Vintage]
) -> Vintage | None:
    """Return the candidate that the source serves under the date `at`, by the marks of its files, else by content."""
    fingerprint = source.observe(at)
    undecided: list[Vintage] = []
    for vintage in candidates:
        natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        data = _data(natives, source)
        marks = [mark for mark in fingerprint.files if mark.url != source.document]
        same = _by_marks(marks, data)
        if same is None:
            same = _by_directory(deployment, dataset, source, at, vintage, data)
        if same:
            return vintage
        if same is None:
            undecided.append(vintage)
    if not undecided or not _is_small(fingerprint):
        return None
    with _Trial(deployment, dataset, at) as trial:
        for vintage in undecided:
            natives = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
            if trial.holds(vintage, _data(natives, source), source):
                return vintage
    return None


def _is_retained(
    deployment: Deployment,
    dataset: Dataset,
    source: Source,
    at: Vintage,
    fingerprint: Fingerprint,
    vintage: Vintage,
    natives: Sequence[NativeFile],
) -> bool | None:
    """Return whether the source serves the retained files of `vintage`; None when the marks can't show it."""
    documents = [native for native in natives if native.url == source.document]
    stated = [mark for mark in fingerprint.files if mark.url == source.document]
    if stated and [mark.etag for mark in stated] != [native.etag for native in documents]:
        return False
    data = _data(natives, source)
    marks = [mark for mark in fingerprint.files if mark.url != source.document]
    if not is_dated_by_its_files(dataset) and not any(_is_doubtful(mark, data) for mark in marks):
        return None  # a new date of a declared vintage counts as a change: it costs one run, which publishes nothing
    same = _by_marks(marks, data)
    if same is None:
        same = _by_directory(deployment, dataset, source, at, vintage, data)
    if same is None and data and _is_small(fingerprint):
        with _Trial(deployment, dataset, at) as trial:
            return trial.holds(vintage, data, source)
    return same


def _by_marks(marks: Sequence[FileMark], natives: Sequence[NativeFile]) -> bool | None:
    held = {native.url: native for native in natives}
    if {mark.url for mark in marks} != held.keys():
        return False
    verdicts = {_by_mark(mark, held[mark.url]) for mark in marks}
    if False in verdicts:
        return False
    return True if verdicts == {True} else None


def _by_mark(mark: FileMark, native: NativeFile) -> bool | None:
    packed = PurePosixPath(native.name).suffix.lower() in _PACKED
    if mark.length is not None and mark.length != native.size:
        return None if packed else False
    if mark.is_blind:
        return None
    if mark.etag and native.etag:
        dated = mark.last_modified is not None and mark.last_modified == native.last_modified
        strong = not mark.etag.startswith("W/")
        return True if mark.etag == native.etag and (strong or (dated and mark.length is not None)) else None
    alike = mark.last_modified is not None and mark.last_modified == native.last_modified and mark.length is not None
    return True if alike and not mark.etag and not native.etag else None


def _is_doubtful(mark: FileMark, natives: Sequence[NativeFile]) -> bool:
    """Return whether a mark proves nothing: empty, dated at this moment, or with the date of the retained file."""
    if mark.is_blind:
        return True
    moment = http_date(mark.last_modified)
    always_now = moment is not None and abs(datetime.now(UTC) - moment) < _THIS_MOMENT
    dated = [native.last_modified for native in natives if native.url == mark.url]
    return always_now or mark.last_modified in dated


def _by_directory(
    deployment: Deployment,
    dataset: Dataset,
    source: Source,
    at: Vintage,
    vintage: Vintage,
    natives: Sequence[NativeFile],
) -> bool | None:
    """Compare the content of zips by their central directories, whatever their size."""
    paths = [path for native in natives if (path := native_path(deployment, dataset.id, vintage, native))]
    held = content_of(paths) if paths and len(paths) == len(natives) else None
    there = source.content(at) if held is not None else None
    return None if there is None else there == held


def _is_small(fingerprint: Fingerprint) -> bool:
    return sum(mark.length or 0 for mark in fingerprint.files) <= TRIAL_BYTES


class _Trial:
    """The files of a vintage, fetched into a temporary folder at first use."""

    def __init__(self, deployment: Deployment, dataset: Dataset, at: Vintage) -> None:
        self._deployment, self._dataset, self._at = deployment, dataset, at
        self._folder = tempfile.TemporaryDirectory(prefix="d4c-notice-", dir=deployment.settings.temp)
        self._fetched: list[tuple[Arrived, str]] | None = None
        self._failed = False

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def holds(self, vintage: Vintage, natives: Sequence[NativeFile], source: Source) -> bool | None:
        """Return whether the files are the retained files of `vintage`; None when the fetch failed or timed out."""
        if self._fetched is None and not self._failed:
            self._fetch()
        if self._fetched is None:
            return None
        return _hold_the_same(self._deployment, self._dataset, vintage, natives, _data_of(self._fetched, source))

    def _fetch(self) -> None:
        source = open_source(self._dataset, self._deployment.settings.origins, patience=_TRIAL)
        try:
            # A source that dates its files serves them only under their current date.
            at = source.discover()[-1] if is_dated_by_its_files(self._dataset) else self._at
            fetched = source.fetch(at, Path(self._folder.name))
        except StorageError:
            raise
        except D4CError:
            # A failed trial decides nothing: `raw` fetches with more patience and reports the cause.
            self._failed = True
            return
        self._fetched = [(each, sha256_of(each.path)) for each in fetched if isinstance(each, Arrived)]


def _data(natives: Iterable[NativeFile], source: Source) -> list[NativeFile]:
    return [native for native in natives if native.url != source.document]


def _data_of(fetched: Iterable[tuple[Arrived, str]], source: Source) -> list[tuple[Arrived, str]]:
    return [(each, sha256) for each, sha256 in fetched if each.url != source.document]


def _hold_the_same(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    natives: Sequence[NativeFile],
    fetched: Sequence[tuple[Arrived, str]],
) -> bool:
    held = {native.url: native for native in natives}
    return (
        bool(fetched)
        and {each.url for each, _ in fetched} == held.keys()
        and all(_holds(deployment, dataset, vintage, held[each.url], each, sha256) for each, sha256 in fetched)
    )


def _holds(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, native: NativeFile, arrived: Arrived, sha256: str
) -> bool:
    if native.sha256 == sha256:
        return True
    path = native_path(deployment, dataset.id, vintage, native)
    return path is not None and same_payload(path, arrived.path)
