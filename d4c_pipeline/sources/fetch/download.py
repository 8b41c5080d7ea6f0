"""One native file over HTTP: asked for conditionally, received, gone on with, checked, from one mirror or another.

The `.part` and its state are `part.py`, several files at once are `transfers.py`. The protocols choose the files.
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


def _tell_nobody(_name: str, _done: int, _total: int | None) -> None: ...


def _go_on() -> None: ...


def _as_declared(url: str) -> str:
    return url


@dataclass(frozen=True)
class Wanted:
    """A file to fetch. `url` is what the ledger calls it by; `mirrors` are where it lies, in the declared order.

    `sha256`: where it is known beforehand. `known`: the file as it was retained earlier. `sign` turns an address into
    the one to ask (it may carry a signature, so it is made anew for each request and appears nowhere).
    """

    url: str
    name: str
    mirrors: tuple[str, ...]
    sha256: str | None = None
    known: NativeFile | None = None
    sign: Callable[[str], str] = field(default=_as_declared, compare=False)


def known_of(url: str, known: Sequence[NativeFile], declared: str | None = None) -> NativeFile | None:
    """Return the file of `url` that was retained last and that a conditional request can name; None without any.

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

    `report` is called in this thread for every piece. `stop` is asked between pieces and raises to end it.
    """

    def __init__(
        self,
        web: Web,
        wanted: Wanted,
        into: Path,
        notes: Notes,
        *,
        pause: Callable[[float], None] = time.sleep,
        report: Report = _tell_nobody,
        stop: Callable[[], None] = _go_on,
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
        self._unpacked = False  # a gzip came without its gzip
        self._longest: int | None = None  # the length that an attempt was told last
        self._mirror: str | None = None  # the one that the bytes so far came from
        self._deadline = time.monotonic() + web.patience.whole_timeout

    def run(self) -> Fetched:
        """Fetch the file, or find that it is known; see `Source.fetch` for what is raised."""
        try:
            fetched = self._from_mirrors()
        except SourceError:
            self._part.restart()  # what a refused file left is of no use to the next attempt
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
                return self._from_mirror(mirror, alone=len(mirrors) == 1)
            except (TransientError, SourceError):
                self._hosts.record(mirror, well=False)
                if last:
                    raise
                self._require_agreement(mirrors[number + 1 :])
        raise SourceError(f"{self._label} has no address", "Declare one")

    def _from_mirror(self, mirror: str, *, alone: bool) -> Fetched:
        patience = self._web.patience
        if not alone:  # the next mirror is a better chance than a third attempt at a sick one
            patience = replace(patience, attempts=min(2, patience.attempts))
        label = self._label_of(mirror)
        fetched = persist(
            lambda: self._attempt(mirror, label), label, patience, self._pause, gained=lambda: self._part.done
        )
        self._hosts.record(mirror, well=True)
        return fetched

    def _require_agreement(self, mirrors: tuple[str, ...]) -> None:
        """Refuse to choose between mirrors that hold different files: only a known sha256 could decide."""
        if self._wanted.sha256 is not None or self._part.total is not None or len(mirrors) < 2:
            return
        lengths: dict[str, int] = {}
        for mirror in mirrors:
            try:
                with self._web.answer("HEAD", self._wanted.sign(mirror), label=self._label_of(mirror)) as response:
                    said = length(response)
            except (D4CError, *FAILURES):
                continue  # it is asked for the file itself, if it comes to that
            if said is not None:
                lengths[mirror] = said
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{mirror} has {size:,} bytes" for mirror, size in lengths.items())
            raise SourceError(
                f"The mirrors of {self._wanted.name} hold different files: {told}",
                "Declare its sha256, or take the wrong mirrors out",
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
            asking = (rest or _conditions(known)) | ({"Accept-Encoding": "gzip"} if self._unpacked else {})
            with self._web.answer("GET", wanted.sign(mirror), asking, passing=(304, 416), label=label) as response:
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
            # Google Cloud Storage unpacks what it holds as gzip for whoever accepts no gzip.
            self._unpacked = True
            part.restart()
            raise TransientError(f"{label} is not a gz", "Look at the address in a browser and correct it")
        html_type = not_data.is_html_type(part.content_type, wanted.name)
        try:
            files.inspect(part.path, wanted.name, label, part.start, html_type=html_type)
        except TransientError:
            part.restart()  # what is here is whole by its length and still broken: continuing it can't help
            raise
        self._require_stated_length(mirror, label)
        part.finish(label)
        return self._arrived()

    def _require_stated_length(self, mirror: str, label: str) -> None:
        """Compare a file that came without a length with what the server says of it otherwise.

        A connection that closes half-way looks like one that closes at the end. Raises TransientError.
        """
        part, wanted = self._part, self._wanted
        if part.total is not None or wanted.sha256 is not None or files.has_end(wanted.name) or not part.is_plain:
            return
        try:
            stated = stated_length(self._web, wanted.sign(mirror), wanted.name, label=label)
        except (D4CError, *FAILURES):
            stated = None  # it was sent all the same
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
                f"{label} sent {done:,} bytes without saying how many there are; the file has {expected:,} "
                "by what it says of it otherwise",
                "Try again later; if it stays so, tell the publisher, or declare the sha256 of the file",
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
                f"{label} holds another file than the mirror before it ({length(response)} bytes, not {earlier})",
                "Declare the sha256 of the file, or take the wrong mirror out",
            )
        part.begin(response, label, trusting=trusting)
        self._mirror = mirror
        self._longest = part.total or self._longest
        if part.total is not None:
            require_room(self._target.parent, part.total - part.done, self._wanted.name)
        part.receive(response, self._report)

    def _known(self) -> Fetched | None:
        """What the source may answer "not modified" of: what is here whole, else what was retained."""
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
                f"{self._label} was not here after {self._web.patience.whole_timeout:,.0f} s",
                "Try again, it goes on where it ended; or raise timeouts.whole",
            )

    def _label_of(self, mirror: str) -> str:
        return self._web.label(mirror)


def _conditions(known: Fetched | None) -> dict[str, str]:
    if known is None:
        return {}
    conditions: Mapping[str, str | None] = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {header: value for header, value in conditions.items() if value}


def _is_known(response: Answer, known: Fetched) -> bool:
    """Whether a server that ignored the conditions names the same file: its strong ETag, else date and length."""
    if response.status != 200 or length(response) not in (None, known.size):
        return False
    etag = response.headers.get("ETag")
    if etag and known.etag:
        return etag == known.etag and not etag.startswith("W/")
    date = response.headers.get("Last-Modified")
    return date is not None and date == known.last_modified and length(response) == known.size
