"""`open`, `versions`, `find` and `update_lock`: the functions that readers begin with.

What a release can do belongs to `release`, the rules by which one is chosen to `catalogue`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c import cache as caches
from d4c import lock as locks
from d4c import mirrors as places
from d4c.catalogue import Catalogue
from d4c.errors import D4CWarning, IntegrityError, UnknownNameError, WithdrawnError
from d4c.lock import Asked, Locked
from d4c.release import Place, Release

Where = str | os.PathLike[str]
_HASH = re.compile(r"(?:hash://sha256/)?([0-9a-f]{64})", re.IGNORECASE)


def open(  # noqa: A001 - d4c.open is what readers write
    dataset: str,
    version: str | None = None,
    vintage: str | int | None = None,
    *,
    mirrors: Where | Sequence[Where] | None = None,
    cache: Where | None = None,
    timeout: float = places.TIMEOUT,
    allow_withdrawn: bool = False,
    lock: Where | None = None,
) -> Release:
    """Return the release that dataset, version and vintage name.

    `version`: a version, `1.*`, `1.2.*`, `*`, or `latest` (also None). `vintage`: a vintage or `latest`; it may be left
    out in a rolling series and where there is one. `mirrors`: addresses or folders of stores, else the variable
    `D4C_MIRRORS`. `cache`: a folder, else `D4C_CACHE`, else the user's own. `timeout`: seconds after which a mirror has
    stalled. `allow_withdrawn`: return an exactly named release that was withdrawn, with a warning instead of the error.

    `lock`: a lock file, such as `d4c.lock`. The first call writes into it what these arguments gave; later calls with
    the same arguments return exactly that release, or raise an error that says why it can't be had.

    Raises UnknownNameError with the names there are, WithdrawnError with the reason, UnreachableError, IntegrityError
    and FormError.
    """
    place = _place(mirrors, cache, timeout)
    asked = Asked(dataset, version, None if vintage is None else str(vintage))
    path = None if lock is None else Path(lock).expanduser().absolute()
    known = None if path is None else locks.read(path).get(asked)
    catalogue = Catalogue.load(place.mirrors, place.cache, timeout)
    if known is not None:
        release = _pinned(catalogue, known, place, str(lock), allow_withdrawn=allow_withdrawn)
    else:
        row = catalogue.choose(dataset, asked.vintage, version, allow_withdrawn=allow_withdrawn)
        release = Release.of_row(row, place)
    if path is not None and known is None:
        with locks.changing(path) as entries:
            # Another process may have locked the same request meanwhile: the first one counts for both.
            first = entries.setdefault(asked, _locked(asked, release))
        if first != (mine := _locked(asked, release)) and (first.version, first.files) != (mine.version, mine.files):
            release = _pinned(catalogue, first, place, str(lock), allow_withdrawn=allow_withdrawn)
    if release.withdrawn_at is not None:
        warnings.warn(f"{release.name} was withdrawn: {release.withdrawn_reason}.", D4CWarning, stacklevel=2)
    return release


def versions(
    dataset: str,
    *,
    mirrors: Where | Sequence[Where] | None = None,
    cache: Where | None = None,
    timeout: float = places.TIMEOUT,
) -> list[Release]:
    """Return every release of a dataset, withdrawn ones too, oldest vintage and version first.

    Raises as `open` does.
    """
    place = _place(mirrors, cache, timeout)
    rows = Catalogue.load(place.mirrors, place.cache, timeout).rows(dataset)
    return [Release.of_row(row, place) for row in rows]


def find(
    hash_uri: str,
    *,
    mirrors: Where | Sequence[Where] | None = None,
    cache: Where | None = None,
    timeout: float = places.TIMEOUT,
) -> Path:
    """Return the verified file that `hash://sha256/...` or 64 hexadecimal digits name, from the cache or any copy.

    Only a file that the cache lacks needs a mirror. Warns where every release with the file was withdrawn. Raises
    UnknownNameError for another text and for a sha256 that no catalogue states, and as `open` does.
    """
    match = _HASH.fullmatch(hash_uri.strip())
    if match is None:
        raise UnknownNameError(f"'{hash_uri}' is no content address", "Write hash://sha256/ and 64 hexadecimal digits")
    sha256, folder = match[1].lower(), caches.folder(cache)
    for path in sorted((folder / "files" / sha256[:2] / sha256).glob("[!.]*")):
        if caches.whole(path, caches.File(path.name, path.stat().st_size, sha256)):
            return path
    place = _place(mirrors, cache, timeout)
    found = Catalogue.load(place.mirrors, place.cache, timeout).holding(sha256)
    if not found:
        raise UnknownNameError(f"No catalogue states a file with the sha256 {sha256}", "Give another mirror")
    releases = [(Release.of_row(row, place), file) for row, file in found]
    release, file = releases[0]
    if release.withdrawn_at is not None:
        warnings.warn(f"{release.name} was withdrawn: {release.withdrawn_reason}.", D4CWarning, stacklevel=2)
    addresses = [address for each, held in releases for address in each.addresses(held)]
    return caches.get(place.cache, file, list(dict.fromkeys(addresses)), timeout)


@dataclass(frozen=True)
class Updated:
    """An entry of a lock file after `update_lock`: what was asked, the versions before and now, and why it stayed.

    A version comes with its vintage, as in `2021 v1.0.1`.
    """

    asked: str
    before: str
    now: str
    kept_because: str | None = None


def update_lock(
    lock: Where = "d4c.lock",
    dataset: str | None = None,
    *,
    mirrors: Where | Sequence[Where] | None = None,
    cache: Where | None = None,
    timeout: float = places.TIMEOUT,
) -> tuple[Updated, ...]:
    """Resolve the entries of a lock file again, all of them or those of `dataset`, and return each.

    An entry that can't be resolved, such as a version that was withdrawn and named exactly, stays as it is, with a
    warning. Raises UnknownNameError when the file has no entry, UnreachableError, IntegrityError and FormError.
    """
    place, path = _place(mirrors, cache, timeout), Path(lock).expanduser().absolute()
    catalogue = Catalogue.load(place.mirrors, place.cache, timeout)
    found: list[Updated] = []
    with locks.changing(path) as entries:
        chosen = [entry for entry in entries.values() if dataset in (None, entry.asked.dataset)]
        if not chosen:
            raise UnknownNameError(
                f"{lock} locks {'nothing' if dataset is None else f'nothing of {dataset}'}",
                "Open a release with lock= first",
            )
        for entry in chosen:
            asked, before = entry.asked, f"{entry.vintage} v{entry.version}"
            try:
                row = catalogue.choose(asked.dataset, asked.vintage, asked.version)
            except (UnknownNameError, WithdrawnError) as error:
                warnings.warn(f"{lock} keeps {asked}: {error}", D4CWarning, stacklevel=2)
                found.append(Updated(str(asked), before, before, error.cause))
                continue
            entries[asked] = _locked(asked, Release.of_row(row, place))
            found.append(Updated(str(asked), before, f"{entries[asked].vintage} v{entries[asked].version}"))
    return tuple(found)


def _pinned(catalogue: Catalogue, known: Locked, place: Place, lock: str, *, allow_withdrawn: bool) -> Release:
    """Return the release that a lock file names, if the catalogue still has it with the same files."""
    name, update = f"{known.asked.dataset} {known.vintage} v{known.version}", f"d4c.update_lock({lock!r})"
    try:
        row = catalogue.choose(known.asked.dataset, known.vintage, known.version, allow_withdrawn=allow_withdrawn)
    except WithdrawnError as error:
        raise WithdrawnError(
            f"{lock} locks {name}: {error.cause}",
            f"{error.remedy.partition('. ')[0]}. {update} moves to it, if what was asked ({known.asked}) matches; "
            "allow_withdrawn=True reads the locked one",
            error.reason,
        ) from error
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{lock} locks {name}, which no mirror that answered lists", f"Give a mirror that has it, or {update}"
        ) from error
    release = Release.of_row(row, place)
    if differing := known.differing({file.name: (file.size, file.sha256) for file in release.files}):
        raise IntegrityError(
            f"{lock} locks other files of {name}: {'; '.join(differing)}",
            "A published release never changes: give a mirror that you trust, and tell the publisher",
        )
    return release


def _locked(asked: Asked, release: Release) -> Locked:
    files = tuple((file.name, file.size, file.sha256) for file in release.files)
    came_from = dict.fromkeys(locks.public(base) for base in release.stated_by)
    return Locked(asked, release.vintage, release.version, release.doi, files, tuple(filter(None, came_from)))


def _place(mirrors: Where | Sequence[Where] | None, cache: Where | None, timeout: float) -> Place:
    return Place(places.named(mirrors), caches.folder(cache), timeout)
