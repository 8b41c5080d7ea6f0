"""The files of a submission: fetched from its source addresses, and uploaded into the quarantine.

A submitter is a stranger, so every address must be public: before a redirect, after it, and at the connection itself
(`sources.fetch.public`). Reading the files belongs to `examination`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import D4CError, PermanentError, SourceError, TransientError
from d4c_pipeline.sources import files
from d4c_pipeline.sources.fetch.download import Download, Wanted
from d4c_pipeline.sources.fetch.heads import stated_length
from d4c_pipeline.sources.fetch.notes import Notes
from d4c_pipeline.sources.fetch.public import is_public
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.transport.patience import FAILURES, Patience

_PATIENCE = Patience(attempts=2, first_wait=1, longest_wait=10, connect_timeout=10, read_timeout=30, whole_timeout=3600)
_INNER_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa")


@dataclass(frozen=True)
class Delivered:
    """What a source address delivered: a file at `path`, or why not.

    `size`: bytes, as received or as the server states. `temporary`: whether a later attempt may succeed.
    """

    address: str
    path: Path | None
    size: int | None
    problem: str | None = None
    temporary: bool = False


def refuse_inner(addresses: Iterable[str]) -> None:
    """Raise PermanentError for an address that names a private machine by itself, without any request.

    A name that resolves to a private address is refused when it is fetched.
    """
    for address in addresses:
        host = (urlsplit(address).hostname or "").rstrip(".").lower()
        if not host or _is_inner(host):
            raise PermanentError(
                f"{address} is no public address", "Give an address that everybody can open, or upload the files"
            )


def _is_inner(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        pass
    last = host.rpartition(".")[2]
    # A last label of digits is an IPv4 address in a short form (127.1), which a resolver may accept.
    return "." not in host or last in _INNER_NAMES or last.isdigit() or last.startswith("0x")


def fetched(addresses: Sequence[str], folder: Path, *, most: int, origins: Mapping[str, str]) -> tuple[Delivered, ...]:
    """Fetch the files of `addresses` into `folder`, together at most `most` bytes; an unfinished fetch is resumed.

    `origins`: origin -> origin that serves it instead. A failure becomes a `problem`. Raises StorageError when `folder`
    can't be written.
    """
    with storage_errors(f"write in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    # No address is declared: a stranger wrote it, so that the rule of public addresses applies to it, too.
    web = Web(origins=origins, patience=_PATIENCE, declared=())
    names = files.file_names(addresses)
    found: list[Delivered] = []
    with Notes(folder) as notes:
        for address, name in zip(addresses, names, strict=True):
            left = most - sum(each.size or 0 for each in found)
            found.append(_fetched(web, address, name, folder, notes, left))
    return tuple(found)


class _TooLargeError(SourceError):
    """The file has more bytes than the quota; never leaves this module."""

    def __init__(self, size: int) -> None:
        super().__init__("too large")
        self.size = size


def _fetched(web: Web, address: str, name: str, folder: Path, notes: Notes, most: int) -> Delivered:
    def refuse_more(_name: str, done: int, total: int | None) -> None:
        if max(done, total or 0) > most:
            raise _TooLargeError(max(done, total or 0))

    try:
        refuse_inner([address])
        refuse_more(name, _stated(web, address, name) or 0, None)
        arrived = Download(web, Wanted(address, name, (address,)), folder, notes, report=refuse_more).run()
    except _TooLargeError as error:
        return Delivered(address, None, error.size, "The file exceeds the quota")
    except D4CError as error:
        return Delivered(address, None, None, error.cause, isinstance(error, TransientError))
    assert isinstance(arrived, Arrived)  # noqa: S101 - no file was known
    path = arrived.path
    if arrived.name != path.name:
        path = path.rename(path.with_name(arrived.name))
    return Delivered(address, path, arrived.size)


def _stated(web: Web, address: str, name: str) -> int | None:
    try:
        return stated_length(web, address, name)
    except FAILURES:
        return None  # the fetch explains the failure, after its attempts


def uploaded(folder: Path) -> tuple[Path, ...]:
    """Return the complete files in the quarantine `folder` of a submission, by name."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink()))
