"""The fetch of one native file over HTTP: conditional requests, resumption, checks, fallback to other mirrors.

The `.part` file and its state belong to `part.py`, concurrent files to `transfers.py`. The protocols choose the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import require_room
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.errors import D4CError, SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.sources import files
from d4c_pipeline.sources.fetch import formats, not_data
from d4c_pipeline.sources.fetch.heads import stated_length
from d4c_pipeline.sources.fetch.notes import Notes
from d4c_pipeline.sources.fetch.part import Part, length
from d4c_pipeline.sources.fetch.web import Answer, Web
from d4c_pipeline.sources.port import Arrived, Fetched
from d4c_pipeline.transport.hosts import HOSTS, Hosts
from d4c_pipeline.transport.patience import FAILURES, persist

Report = Callable[[str, int, int | None], None]


def _report_nothing(_name: str, _done: int, _total: int | None) -> None: ...


def _never_stop() -> None: ...


def _as_declared(url: str) -> str:
    return url


@dataclass(frozen=True)
class Wanted:
    """A file to fetch. `url` identifies it in the ledger; `mirrors` are its addresses, in the declared order.

    `sha256`: the declared digest, if any. `known`: the file as it was retained earlier. `sign` returns the address of a
    request, which may carry a signature: it is called for each request, and the result appears in no message.
    """

    url: str
    name: str
    mirrors: tuple[str, ...]
    sha256: str | None = None
    known: NativeFile | None = None
    sign: Callable[[str], str] = field(default=_as_declared, compare=False)


def known_of(url: str, known: Sequence[NativeFile], declared: str | None = None) -> NativeFile | None:
    """Return the last retained file of `url` that a conditional request can name; None without any.

    `declared`: the declared format. A file retained under a name without that format is fetched again.
    """
    found = [
        file
        for file in known
        if file.url == url
        and (file.etag or file.last_modified)
        and formats.with_format(file.name, declared) == file.name
    ]
    return found[-1] if found else None


class Download:
    """The fetch of one file into a folder. `pause`: called with the seconds to wait between attempts.

    `report` is called in this thread for every piece. `stop` is called between pieces and raises to end the fetch.
    """

    def __init__(
        self,
        web: Web,
        wanted: Wanted,
        into: Path,
        notes: Notes,
        *,
        pause: Callable[[float], None] = time.sleep,
        report: Report = _report_nothing,
        stop: Callable[[], None] = _never_stop,
        hosts: Hosts = HOSTS,
    ) -> None:
        self._web = web
        self._wanted = wanted
        self._pause = pause
        self._report = partial(report, wanted.name)
        self._hosts = hosts
        self._caller_stops = stop
        self._target = into / wanted.name
        self._part = Part(self._target, wanted.url, notes, wanted.sha256, self._stop)
        self._label = web.label(wanted.url)
        self._unpacked = False  # the server decompressed a gzip
        self._longest: int | None = None  # the last length that the server stated
        self._mirror: str | None = None  # the mirror of the bytes so far
        self._deadline = time.monotonic() + web.patience.whole_timeout

    def run(self) -> Fetched:
        """Fetch the file, or return the known file if it is current. Raises the errors of `Source.fetch`."""
        try:
            fetched = self._from_mirrors()
        except SourceError:
            self._part.restart()  # the bytes of a refused file are useless to the next attempt
            raise
        finally:
            self._part.leave()
        self._report(fetched.size, fetched.size)
        return fetched

    def _from_mirrors(self) -> Fetched:
        mirrors = self._hosts.healthiest_first(self._wanted.mirrors)
        for number, mirror in enumerate(mirrors):
            last = number == len(mirrors) - 1
            try:
                return self._from_mirror(mirror, only=len(mirrors) == 1)
            except (TransientError, SourceError):
                self._hosts.record(mirror, well=False)
                if last:
                    raise
                self._require_agreement(mirrors[number + 1 :])
        raise SourceError(f"{self._label} has no address", "Declare one")

    def _from_mirror(self, mirror: str, *, only: bool) -> Fetched:
        patience = self._web.patience
        if not only:  # the next mirror is more likely to succeed than a third attempt here
            patience = replace(patience, attempts=min(2, patience.attempts))
        label = self._label_of(mirror)
        fetched = persist(
            lambda: self._attempt(mirror, label), label, patience, self._pause, gained=lambda: self._part.done
        )
        self._hosts.record(mirror, well=True)
        return fetched

    def _require_agreement(self, mirrors: tuple[str, ...]) -> None:
        """Raise SourceError if the mirrors hold different files: only a declared sha256 could decide."""
        if self._wanted.sha256 is not None or self._part.total is not None or len(mirrors) < 2:
            return
        lengths: dict[str, int] = {}
        for mirror in mirrors:
            try:
                with self._web.answer("HEAD", self._wanted.sign(mirror), label=self._label_of(mirror)) as response:
                    stated = length(response)
            except (D4CError, *FAILURES):
                continue  # the fetch itself reports the error
            if stated is not None:
                lengths[mirror] = stated
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{mirror} has {size:,} bytes" for mirror, size in lengths.items())
            raise SourceError(
                f"The mirrors of {self._wanted.name} hold different files: {listed}",
                "Declare its sha256, or remove the wrong mirrors",
            )

    def _attempt(self, mirror: str, label: str) -> Fetched:
        part, wanted = self._part, self._wanted
        trusting = wanted.sha256 is not None
        if part.is_complete and trusting:
            if sha256_of(self._target) == wanted.sha256:
                return self._arrived()
            part.restart()
        known = self._known()
        if part.is_complete or not part.is_whole:
            rest = {} if part.is_complete else part.continuing(trusting=trusting)
            headers = (rest or _conditions(known)) | ({"Accept-Encoding": "gzip"} if self._unpacked else {})
            with self._web.answer("GET", wanted.sign(mirror), headers, passing=(304, 416), label=label) as response:
                if known is not None and (response.status == 304 or _is_known(response, known)):
                    return known
                self._take(response, mirror, label, trusting=trusting)
        if part.total is not None and part.done != part.total:
            raise TransientError(f"{label} sent {part.done:,} bytes of {part.total:,}", "Try again later")
        if (
            not self._unpacked
            and wanted.name.lower().endswith(".gz")
            and not (part.start or magic.GZIP).startswith(magic.GZIP)
        ):
            # Google Cloud Storage decompresses stored gzip for clients that accept no gzip.
            self._unpacked = True
            part.restart()
            raise TransientError(f"{label} is not a gz", "Open the address in a browser and correct it")
        html_type = not_data.is_html_type(part.content_type, wanted.name)
        try:
            files.inspect(part.path, wanted.name, label, part.start, html_type=html_type)
        except TransientError:
            part.restart()  # complete by its length and still broken: resuming can't help
            raise
        self._require_stated_length(mirror, label)
        part.finish(label)
        return self._arrived()

    def _require_stated_length(self, mirror: str, label: str) -> None:
        """Compare the size of a response without a length with the length that the server states elsewhere.

        A connection closed half-way looks like a connection closed at the end. Raises TransientError.
        """
        part, wanted = self._part, self._wanted
        if part.total is not None or wanted.sha256 is not None or files.has_end(wanted.name) or not part.is_plain:
            return
        try:
            stated = stated_length(self._web, wanted.sign(mirror), wanted.name, label=label)
        except (D4CError, *FAILURES):
            stated = None  # the file arrived nevertheless
        known = wanted.known
        marks = (part.etag, part.last_modified)
        retained = (
            known.size if known is not None and (known.etag, known.last_modified) == marks != (None, None) else None
        )
        expected = max(filter(None, (stated, self._longest, retained)), default=None)
        if expected is not None and part.done < expected:
            done = part.done
            part.restart()
            raise TransientError(
                f"{label} sent {done:,} bytes without a stated length; elsewhere it states {expected:,} bytes",
                "Try again later; if it persists, report it to the publisher, or declare the sha256 of the file",
            )

    def _take(self, response: Answer, mirror: str, label: str, *, trusting: bool) -> None:
        part = self._part
        if response.status in (304, 416):
            part.restart()
            raise TransientError(f"{label} answered {response.status} to a plain request", "Try again later")
        earlier = part.total
        other = self._mirror not in (None, mirror)
        if other and not trusting and earlier is not None and response.status == 200 and length(response) != earlier:
            raise SourceError(
                f"{label} holds a different file than the previous mirror ({length(response)} bytes, not {earlier})",
                "Declare the sha256 of the file, or remove the wrong mirror",
            )
        part.begin(response, label, trusting=trusting)
        self._mirror = mirror
        self._longest = part.total or self._longest
        if part.total is not None:
            require_room(self._target.parent, part.total - part.done, self._wanted.name)
        part.receive(response, self._report)

    def _known(self) -> Fetched | None:
        """Return the file to request conditionally: the complete file in the folder, else the retained file."""
        part, retained = self._part, self._wanted.known
        if not part.is_complete:
            return retained if not part.done else None
        marks = (part.done, part.etag, part.last_modified)
        same = retained is not None and (retained.size, retained.etag, retained.last_modified) == marks
        return retained if same else self._arrived()

    def _arrived(self) -> Arrived:
        part = self._part
        called = formats.arrived_name(
            self._wanted.name,
            self._target,
            self._wanted.url,
            disposition=part.disposition,
            content_type=part.content_type,
        )
        return Arrived(
            self._target, self._wanted.url, part.done, part.etag, part.last_modified, part.content_type, called
        )

    def _stop(self) -> None:
        self._caller_stops()
        if time.monotonic() > self._deadline:
            raise TransientError(
                f"{self._label} was not complete after {self._web.patience.whole_timeout:,.0f} s",
                "Try again: the fetch resumes; or raise timeouts.whole",
            )

    def _label_of(self, mirror: str) -> str:
        return self._web.label(mirror)


def _conditions(known: Fetched | None) -> dict[str, str]:
    if known is None:
        return {}
    conditions: Mapping[str, str | None] = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {header: value for header, value in conditions.items() if value}


def _is_known(response: Answer, known: Fetched) -> bool:
    """Return whether a server that ignored the conditions names the same file: strong ETag, else date and length."""
    if response.status != 200 or length(response) not in (None, known.size):
        return False
    etag = response.headers.get("ETag")
    if etag and known.etag:
        return etag == known.etag and not etag.startswith("W/")
    date = response.headers.get("Last-Modified")
    return date is not None and date == known.last_modified and length(response) == known.size
