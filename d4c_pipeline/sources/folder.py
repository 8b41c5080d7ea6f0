"""Files in a folder: a drop folder, a network disk.

A file that is still being written is left alone: it counts when nothing was written to it for a while. Unpacking
belongs to `unpack.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from os import stat_result
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import D4CError, SourceError, StorageError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.model.vintage import VINTAGE_PATTERN, Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.content import content_of
from d4c_pipeline.sources.port import Arrived, Fetched, FileMark, Fingerprint, Progress

T = TypeVar("T")
_COPY = 1 << 20
_PLACE = re.compile(r"\{vintage(?::[^}]*)?\}")


class DropFolder:
    """The files of a folder (a `Source`, see `port.py`). `clock`: seconds since the epoch."""

    def __init__(
        self,
        declared: FolderSource,
        *,
        vintages: Sequence[Vintage] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._declared = declared
        self._vintages = None if vintages is None else tuple(vintages)
        self._clock = clock

    def discover(self) -> tuple[Vintage, ...]:
        """Return the declared vintages, or those of which there are folders or files now. See `Source.discover`."""
        if self._vintages is not None:
            return self._vintages
        if not self._declared.names_vintage:
            newest = max(path.stat().st_mtime for path in self._stable(None))
            return (Vintage.of_day(datetime.fromtimestamp(newest, UTC)),)
        found = sorted(vintage for vintage in vintages_of(self._declared.path, _children) if self._has_files(vintage))
        if not found:
            raise SourceError(f"No vintage lies at {self._declared.path}", "Check the path, and that it is mounted")
        return tuple(found)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return time and length of each file. See `Source.observe`."""
        return Fingerprint(tuple(_mark(path, path.stat()) for path in self._stable(vintage)))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of zips. See `Source.content`."""
        return content_of(self._stable(vintage))

    def describe(self, vintage: Vintage) -> Described | None:
        """Return None: a folder says nothing about its files."""
        return None

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Copy the files into `into`. See `Source.fetch`."""
        paths = self._stable(vintage)
        if self._vintages is None and not self._declared.names_vintage:
            self._require_served(vintage, paths)
        urls = [_url(path) for path in paths]
        with files.writing(into):
            into.mkdir(parents=True, exist_ok=True)
        files.require_room(into, sum(path.stat().st_size for path in paths), "The folder")
        retained = {(file.url, file.last_modified, file.size): file for file in known}
        fetched: list[Fetched] = []
        for path, url, name in zip(paths, urls, files.file_names(urls), strict=True):
            mark = _mark(path, path.stat())
            if (same := retained.get((url, mark.last_modified, mark.length or 0))) is not None:
                fetched.append(same)
            else:
                fetched.append(_copied(path, into / name, url, progress))
        return tuple(fetched)

    def _require_served(self, vintage: Vintage, paths: Sequence[Path]) -> None:
        served = Vintage.of_day(datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), UTC))
        if served != vintage:
            raise SourceError(
                f"The folder {self._declared.path} holds vintage {served} now, not {vintage}",
                f"Publish vintage {served}; an earlier one is only left where its native files were retained",
            )

    def _folder(self, vintage: Vintage | None) -> Path:
        return Path(self._declared.path.format(vintage=vintage or Vintage.parse("1970")))

    def _has_files(self, vintage: Vintage) -> bool:
        return any(self._is_stable(path) for path in self._matching(vintage))

    def _stable(self, vintage: Vintage | None) -> list[Path]:
        """The files that count. Raises TransientError while one is still being written, SourceError without any."""
        folder = self._folder(vintage)
        matching = self._matching(vintage)
        if not matching:
            raise SourceError(
                f"No file at {folder} is matched by '{self._declared.pattern}'",
                "Check the path, and that it is mounted",
            )
        if growing := [path for path in matching if not self._is_stable(path)]:
            raise TransientError(
                f"{growing[0]} was written to less than {self._declared.stable_seconds:g} s ago",
                "It is taken when it has been left alone for so long",
            )
        return matching

    def _matching(self, vintage: Vintage | None) -> list[Path]:
        folder = self._folder(vintage)
        pattern = self._declared.pattern
        return sorted(
            path
            for path in _walk(folder)
            if fnmatchcase(path.relative_to(folder).as_posix(), pattern) or fnmatchcase(path.name, pattern)
        )

    def _is_stable(self, path: Path) -> bool:
        # The time of the last change of the inode: unlike that of the content, no copying program sets it back.
        status = _read(path, path.stat)
        return self._clock() - max(status.st_ctime, status.st_mtime) >= 0 and (
            self._clock() - status.st_ctime >= self._declared.stable_seconds
        )


def vintages_of(template: str, children: Callable[[str], Sequence[str]]) -> set[Vintage]:
    """Return the vintages for which there is something where `template`, a path, says.

    `children` lists the names in a folder, given its path. The part of the path that names the vintage is compared with
    the names that are there, so `/drop/census_{vintage:yyyy}` finds 2016 and 2021.
    """
    parts = PurePosixPath(template).parts
    at = next(number for number, part in enumerate(parts) if "{vintage" in part)
    fixed, named = PurePosixPath(*parts[:at]), parts[at]
    shape = "".join(
        f"(?P<v>{_shape(piece)})" if number % 2 else re.escape(piece) for number, piece in enumerate(_pieces(named))
    )
    found: set[Vintage] = set()
    for name in children(str(fixed)):
        match = re.fullmatch(shape, name)
        if match is None:
            continue
        try:
            vintage = Vintage.parse(match["v"])
        except D4CError:
            continue  # digits that are no date: another folder
        if named.format(vintage=vintage) == name:
            found.add(vintage)
    return found


def _pieces(named: str) -> list[str]:
    place = _PLACE.search(named)
    if place is None:
        return [named]
    return [named[: place.start()], place.group(), named[place.end() :]]


def _shape(place: str) -> str:
    spec = place.removeprefix("{vintage").removesuffix("}").lstrip(":")
    shape = re.escape(spec).replace("yyyy", r"\d{4}").replace("mm", r"\d{2}").replace("dd", r"\d{2}")
    return shape if spec else VINTAGE_PATTERN


def _children(folder: str) -> list[str]:
    path = Path(folder)
    return _read(path, lambda: sorted(child.name for child in path.iterdir()))


def _walk(folder: Path) -> list[Path]:
    """All files below a folder; hidden ones and those beyond links are none of it."""
    if not folder.is_dir():
        return []
    found: list[Path] = []
    for child in _read(folder, lambda: sorted(folder.iterdir())):
        if child.name.startswith(".") or child.is_symlink():
            continue
        found += _walk(child) if child.is_dir() else [child] if child.is_file() else []
    return found


def _copied(path: Path, target: Path, url: str, progress: Progress | None) -> Arrived:
    before = _read(path, path.stat)
    done = 0
    part = target.with_name(f".{target.name}.part")
    source = _read(path, lambda: path.open("rb"))
    with files.writing(target.parent), source, part.open("wb", buffering=0) as sink:
        while chunk := _read(path, lambda: source.read(_COPY)):
            sink.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(target.name, done, before.st_size)
    after = _read(path, path.stat)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or done != after.st_size:
        raise TransientError(f"{path} was written to while it was read", "Try again when it is complete")
    files.inspect(part, target.name, str(path))
    with files.writing(target.parent):
        part.replace(target)
    return Arrived(target, url, done, None, _mark(path, before).last_modified, None)


def _mark(path: Path, status: stat_result) -> FileMark:
    moment = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return FileMark(_url(path), None, moment, status.st_size)


def _url(path: Path) -> str:
    return f"file://{quote(path.as_posix())}"


def _read(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except FileNotFoundError as error:
        raise TransientError(f"{path} is gone again", "Try again when the folder is at rest") from error
    except PermissionError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}", "Give this user the right to read it") from error
    except OSError as error:
        raise TransientError(f"{path} can't be read: {error.strerror or error}", "Check that it is mounted") from error
