"""A file during its download: the `.part` file, its note, and the rules of ranges for resumption.

Requests and retries belong to `download.py`, the storage of notes to `notes.py`. The part outlives the process: the
next process that fetches the same address into the same folder resumes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources import files
from d4c_pipeline.sources.fetch import codings, digests
from d4c_pipeline.sources.fetch.notes import Notes
from d4c_pipeline.sources.fetch.web import Answer

CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-(?P<last>\d+)/(?P<total>\d+|\*)")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CHUNK = 1 << 18  # larger chunks take new memory from the kernel each time


@dataclass(frozen=True)
class _State:
    """The identity of the bytes in the `.part` file, as the server stated it when it began to send them."""

    url: str
    boot: str
    validator: str | None
    etag: str | None
    last_modified: str | None
    content_type: str | None
    total: int | None
    stated: Mapping[str, str]
    complete: bool = False
    disposition: str | None = None
    plain: bool = True  # the bytes equal the body: no content coding was decoded


class Part:
    """The partial file: its bytes so far, its running digests, and its identity at the server.

    `sha256`: the declared digest of the complete file. `stop` is called between chunks and raises to end the download.
    """

    def __init__(
        self, target: Path, url: str, notes: Notes, sha256: str | None = None, stop: Callable[[], None] = lambda: None
    ) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._notes = notes
        self._url = url
        self._sha256 = sha256
        self._stop = stop
        self._codings: tuple[str, ...] = ()
        self._peeked = b""
        self._forget()
        self._take_up()

    @property
    def total(self) -> int | None:
        """The complete length in bytes, once the server has stated it."""
        return self._state.total

    @property
    def etag(self) -> str | None:
        """The ETag of the bytes so far."""
        return self._state.etag

    @property
    def last_modified(self) -> str | None:
        """The Last-Modified of the bytes so far."""
        return self._state.last_modified

    @property
    def content_type(self) -> str | None:
        """The Content-Type of the bytes so far."""
        return self._state.content_type

    @property
    def disposition(self) -> str | None:
        """The Content-Disposition."""
        return self._state.disposition

    @property
    def is_plain(self) -> bool:
        """Whether lengths and ranges of the body hold for the file: no content coding was decoded."""
        return self._state.plain

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have arrived, as far as the server stated a length."""
        return self.is_complete or (self.total is not None and self.done == self.total > 0)

    @property
    def is_complete(self) -> bool:
        """Whether the target exists, checked and under its name, by this process or by an earlier, killed one."""
        return self._state.complete

    @property
    def start(self) -> bytes | None:
        """The first `files.START` bytes as they arrived; None if an earlier process received them."""
        return self._start

    def restart(self) -> None:
        """Discard the bytes so far; the next bytes are the first."""
        self._forget()
        with storage_errors(f"write in {self.path.parent}"):
            self.path.unlink(missing_ok=True)
        self._notes.drop(self.target.name)

    def leave(self) -> None:
        """Keep the bytes only if another process can resume them."""
        noted = self._notes.get(self.target.name) is not None
        if not self.is_complete and not (self.done and noted and self._state.validator):
            self.restart()

    def continuing(self, *, trusting: bool = False) -> dict[str, str]:
        """Return the headers that request the rest (RFC 9110, 13.1.5 and 14.2); empty if the part can't be resumed.

        `trusting`: the digest of the complete file is declared, so the bytes may come from any mirror.
        """
        if not self.done or not self._state.plain or (self._state.validator is None and not trusting):
            return {}
        headers = {"Range": f"bytes={self.done}-"}
        return headers if trusting else {**headers, "If-Range": self._state.validator or ""}

    def begin(self, response: Answer, label: str, *, trusting: bool = False) -> None:
        """Start a response: resume with a matching 206, start over with a 200."""
        headers = response.headers
        self._codings, self._peeked = (), b""
        span = CONTENT_RANGE.fullmatch(headers.get("Content-Range", "")) if response.status == 206 else None
        if response.status == 206 and not (self.done == 0 and _is_all(span)):
            same = trusting or validator(response) == self._state.validator
            if span is None or int(span["first"]) != self.done or not same or _differs(span["total"], self.total):
                self.restart()
                raise TransientError(f"{label} sent a range other than the requested one", "Try again later")
            return
        self._forget()
        if codings.stated(headers):
            while len(self._peeked) < codings.PEEK and (more := response.read1(codings.PEEK, decode_content=False)):
                self._peeked += more
            self._codings = codings.of(headers, self.target.name, self._peeked, label)
        plain = not self._codings  # else length and ranges are of the coded body
        content_length = headers.get("Content-Length", "")
        self._state = replace(
            _fresh(self._url),
            validator=validator(response) if plain else None,
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            content_type=headers.get("Content-Type"),
            total=int(content_length) if plain and content_length.isdigit() else None,
            stated=digests.stated(headers) if plain else {},
            disposition=headers.get("Content-Disposition"),
            plain=plain,
        )
        self._hashes = self._running()
        if self.total is None or self.total > _CHUNK:  # a file of one chunk is never resumed
            self._note()

    def receive(self, response: Answer, progress: Callable[[int, int | None], None]) -> None:
        """Write and hash the body as it arrives. Raises StorageError."""
        chunks = codings.decoded(_chunks(self._peeked, response), self._codings, self._url)
        # No sync: after a power cut no file of this folder is trusted, see `_take_up`.
        with (
            storage_errors(f"write in {self.path.parent}"),
            self.path.open("r+b" if self.done else "wb", buffering=0) as file,
            self._hashes.beside(large=self.total is None or self.total - self.done > digests.LARGE) as hashing,
        ):
            if self.done:
                file.seek(self.done)
                file.truncate()
            else:
                self._start = b""
            for chunk in chunks:
                hashing(chunk)
                file.write(chunk)
                if self._start is not None and len(self._start) < files.START:
                    self._start += chunk[: files.START - len(self._start)]
                self.done += len(chunk)
                progress(self.done, self.total)
                self._stop()

    def finish(self, label: str) -> None:
        """Check the digests and give the file its name.

        Raises TransientError if the bytes differ from the server's digests, SourceError if they differ from the
        declared digest.
        """
        if (wrong := self._hashes.differing(self._state.stated)) is not None:
            self.restart()
            raise TransientError(f"{label}: {wrong}", "Try again; if it persists, report it to the publisher")
        if self._sha256 is not None and self._sha256 != (sha256 := self._hashes.hexdigest("sha256")):
            self.restart()
            raise SourceError(
                f"{label} has sha256 {sha256}, declared is {self._sha256}",
                "Ask the publisher which is right, then correct the declaration",
            )
        self._state = replace(self._state, complete=True, total=self.done)
        # The note goes first: if the process ends in between, the file is known to be complete.
        self._note()
        with storage_errors(f"write in {self.path.parent}"):
            self.path.replace(self.target)

    def _forget(self) -> None:
        self.done = 0
        self._start: bytes | None = None
        self._state = _fresh(self._url)
        self._hashes = self._running()

    def _running(self) -> digests.Running:
        return digests.Running({*self._state.stated, *(() if self._sha256 is None else ("sha256",))})

    def _take_up(self) -> None:
        """Resume the part of an earlier process, unless the machine was restarted since.

        After a power cut a file may have its length without its content: no file here is synced.
        """
        state = _state(self._notes.get(self.target.name))
        if state is None or state.url != self._url or not state.boot or state.boot != _boot():
            return
        with storage_errors(f"write in {self.path.parent}"):
            if state.complete and self.path.exists():
                self.path.replace(self.target)
            whole = self.target if state.complete else self.path
            size = whole.stat().st_size if whole.exists() else 0
            if not size or (state.total is not None and size > state.total) or (state.complete and size != state.total):
                return
            self._state, self.done = state, size
            self._hashes = self._running()
            if self._hashes.names and not state.complete:
                with whole.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        self._hashes.update(chunk)

    def _note(self) -> None:
        self._notes.put(self.target.name, vars(self._state))


def length(response: Answer) -> int | None:
    """Return the length of the file in bytes, None if the response states none, or states that of a coded body."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() and not codings.stated(response.headers) else None


def validator(response: Answer) -> str | None:
    """Return the validator for If-Range: a strong ETag, else the date."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _chunks(peeked: bytes, response: Answer) -> Iterator[bytes]:
    if peeked:
        yield peeked
    # The bytes that have arrived, up to a chunk: a slow server must not delay the check of the deadline.
    while chunk := response.read1(_CHUNK, decode_content=False):
        yield chunk


def _is_all(span: re.Match[str] | None) -> bool:
    return span is not None and int(span["first"]) == 0 and span["total"] == str(int(span["last"]) + 1)


def _differs(total: str, known: int | None) -> bool:
    return total != "*" and known is not None and int(total) != known


def _fresh(url: str) -> _State:
    return _State(url, _boot(), None, None, None, None, None, {})


@cache
def _boot() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""  # not Linux: parts of earlier processes are not resumed


def _state(note: Mapping[str, Any] | None) -> _State | None:
    try:
        return None if note is None else _State(**note)
    except TypeError:
        return None  # a note of another version: the file is fetched from its beginning
