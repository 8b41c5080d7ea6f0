"""Native files in a folder: a drop folder, a network disk.

A file counts once it was not written to for `stable_seconds`. Unpacking belongs to `files.unpack`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from os import stat_result
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from d4c_pipeline.files.disk import require_room, storage_errors
from d4c_pipeline.model.errors import D4CError, SourceError, StorageError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.model.vintage import VINTAGE_PATTERN, Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.content import content_of
from d4c_pipeline.sources.dating import day_of, is_ahead
from d4c_pipeline.sources.declared import DeclaredSource
from d4c_pipeline.sources.port import Arrived, Fetched, FileMark, Fingerprint, Progress

T = TypeVar("T")
_COPY = 1 << 20
_PLACE = re.compile(r"\{vintage(?::[^}]*)?\}")


class DropFolder(DeclaredSource[FolderSource]):
    """The files of a folder (a `Source`, see `port.py`). `clock`: seconds since the epoch."""

    def __init__(
        self,
        declared: FolderSource,
        *,
        vintages: Sequence[Vintage] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(declared, vintages=vintages)
        self._clock = clock

    def _discovered(self) -> tuple[Vintage, ...]:
        if not self._declared.names_vintage:
            return (_newest_day(self._stable(None)),)
        found = sorted(vintage for vintage in vintages_of(self._declared.path, _children) if self._has_files(vintage))
        if not found:
            raise SourceError(f"No vintage found at {self._declared.path}", "Check the path, and that it is mounted")
        return tuple(found)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return times and length of each file. See `Source.observe`."""
        return Fingerprint(tuple(_mark(path, _status(path)) for path in self._stable(vintage)))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of zips. See `Source.content`."""
        return content_of(self._stable(vintage))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Copy the files into `into`. See `Source.fetch`."""
        paths = self._stable(vintage)
        self._require_served(vintage, lambda: _newest_day(paths), f"The folder {self._declared.path}")
        urls = [_url(path) for path in paths]
        with storage_errors(f"write in {into}"):
            into.mkdir(parents=True, exist_ok=True)
        require_room(into, sum(_status(path).st_size for path in paths), "The folder")
        retained = {(file.url, file.etag, file.last_modified, file.size): file for file in known}
        fetched: list[Fetched] = []
        for path, url, name in zip(paths, urls, files.file_names(urls), strict=True):
            mark = _mark(path, _status(path))
            if (same := retained.get((url, mark.etag, mark.last_modified, mark.length or 0))) is not None:
                fetched.append(same)
            else:
                fetched.append(_copied(path, into / name, url, progress))
        return tuple(fetched)

    def _folder(self, vintage: Vintage | None) -> Path:
        return Path(self._declared.path.format(vintage=vintage or Vintage.parse("1970")))

    def _has_files(self, vintage: Vintage) -> bool:
        return any(self._is_stable(path) for path in self._matching(vintage))

    def _stable(self, vintage: Vintage | None) -> list[Path]:
        """Return the matching files. Raises TransientError while a file is being written, SourceError without any."""
        folder = self._folder(vintage)
        matching = self._matching(vintage)
        if not matching:
            raise SourceError(
                f"No file at {folder} matches '{self._declared.pattern}'",
                "Check the path, and that it is mounted",
            )
        if growing := [path for path in matching if not self._is_stable(path)]:
            raise TransientError(
                f"{_shown(growing[0])} was written to less than {self._declared.stable_seconds:g} s ago",
                "It is accepted once it is unchanged for that time",
            )
        return matching

    def _matching(self, vintage: Vintage | None) -> list[Path]:
        folder = self._folder(vintage)
        pattern = self._declared.pattern
        matched = sorted(
            path
            for path in _walk(folder, self._root(folder))
            if fnmatchcase(path.relative_to(folder).as_posix(), pattern) or fnmatchcase(path.name, pattern)
        )
        for link in filter(Path.is_symlink, matched):
            _require_inside(link, self._root(folder))
        # A file and a link to it (`latest.csv`) are the same file: read twice, it would duplicate every row.
        once: dict[Path, Path] = {}
        for path in sorted(matched, key=lambda path: path.is_symlink()):
            once.setdefault(_read(path, path.resolve), path)
        return sorted(once.values())

    def _root(self, folder: Path) -> Path:
        """Return the folder that links may lead to: the part of the declared path that all vintages share."""
        parts = Path(self._declared.path).parts
        at = next((number for number, part in enumerate(parts) if "{vintage" in part), None)
        return folder if at is None else Path(*parts[:at])

    def _is_stable(self, path: Path) -> bool:
        # The time of the last change of the inode. Unlike the time of the content, copying programs, clocks of cameras
        # and time zones in zips can't set it.
        changed = _status(path).st_ctime
        if is_ahead(datetime.fromtimestamp(changed, UTC), datetime.fromtimestamp(self._clock(), UTC)):
            raise TransientError(
                f"{_shown(path)} was changed at {datetime.fromtimestamp(changed, UTC):%Y-%m-%d %H:%M} UTC, which is in"
                " the future",
                "Set the clocks of this machine and of the file server",
            )
        return self._clock() - changed >= self._declared.stable_seconds


def vintages_of(template: str, children: Callable[[str], Sequence[str]]) -> set[Vintage]:
    """Return the vintages that exist under `template`, a path.

    `children` lists the names in a folder, given its path. The part of the path with the vintage is matched against
    these names, so `/drop/census_{vintage:yyyy}` finds 2016 and 2021.
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
            continue  # digits that are not a date: another folder
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


def _walk(folder: Path, root: Path, inside: frozenset[Path] = frozenset()) -> list[Path]:
    """Return all files below a folder except hidden ones, and all links that can't be followed within `root`.

    `inside`: the parent folders, so that a link to one of them does not loop.
    """
    if not folder.is_dir():
        return []
    here = _read(folder, folder.resolve)
    if here in inside:
        return []
    found: list[Path] = []
    for child in _read(folder, lambda: sorted(folder.iterdir())):
        if child.name.startswith("."):
            continue
        if child.is_symlink() and not _leads_inside(child, root):
            found.append(child)
            continue
        found += _walk(child, root, inside | {here}) if child.is_dir() else [child] if child.is_file() else []
    return found


def _leads_inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # Python before 3.13 raises RuntimeError for a loop
        return False


def _require_inside(link: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except RuntimeError as error:  # raised by Python before 3.13 for a loop
        raise SourceError(f"The link {_shown(link)} is part of a loop", "Remove it") from error
    except OSError as error:
        raise SourceError(
            f"The link {_shown(link)} is broken ({error.strerror or error})", "Remove it, or put the file there"
        ) from error
    if not target.is_relative_to(_read(root, root.resolve)):
        raise SourceError(
            f"The link {_shown(link)} leads out of the folder, to {_shown(target)}",
            "Put the file itself into the folder, or declare the folder of its target",
        )


def _copied(path: Path, target: Path, url: str, progress: Progress | None) -> Arrived:
    before = _status(path)
    done = 0
    part = target.with_name(f".{target.name}.part")
    source = _read(path, lambda: path.open("rb"))
    with storage_errors(f"write in {target.parent}"), source, part.open("wb", buffering=0) as sink:
        while chunk := _read(path, lambda: source.read(_COPY)):
            sink.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(target.name, done, before.st_size)
    after = _status(path)
    if _mark(path, after) != _mark(path, before) or done != after.st_size:
        raise TransientError(f"{_shown(path)} was written to while it was read", "Try again when it is complete")
    files.inspect(part, target.name, _shown(path))
    with storage_errors(f"write in {target.parent}"):
        part.replace(target)
    mark = _mark(path, before)
    return Arrived(target, url, done, mark.etag, mark.last_modified, None)


def _mark(path: Path, status: stat_result) -> FileMark:
    moment = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    # `rsync -t` and `cp -p` keep the time of the content while they replace it; the time of the inode changes.
    return FileMark(_url(path), f"changed {status.st_ctime_ns}", moment, status.st_size)


def _newest_day(paths: Sequence[Path]) -> Vintage:
    newest = max(paths, key=lambda path: _status(path).st_mtime)
    return day_of(datetime.fromtimestamp(_status(newest).st_mtime, UTC), _shown(newest))


def _url(path: Path) -> str:
    # From its bytes: a name need not be UTF-8.
    return f"file://{quote(os.fsencode(path.as_posix()))}"


def _shown(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _status(path: Path) -> stat_result:
    return _read(path, path.stat)


def _read(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except FileNotFoundError as error:
        raise TransientError(f"{_shown(path)} disappeared", "Try again when the folder no longer changes") from error
    except PermissionError as error:
        raise StorageError(f"{_shown(path)} can't be read: {error.strerror}", "Grant this user read access") from error
    except OSError as error:
        raise TransientError(
            f"{_shown(path)} can't be read: {error.strerror or error}", "Check that it is mounted"
        ) from error
