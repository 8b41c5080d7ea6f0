"""Shared parts of all archive formats: listed members, limits, errors.

`unpack.py` decides which members are refused.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, setting


class Budget:
    """The remaining limits of one delivery, shared by all of its archives, nested ones included."""

    def __init__(self, limits: Limits, packed: int) -> None:
        """`packed`: the size of the outermost archive in bytes, the base of `ratio`."""
        self.limits = limits
        self._packed = packed
        self._members = self._bytes = 0

    def member(self, archive: Path, count: int = 1) -> None:
        """Count listed members. Raises DataError beyond the limit."""
        self._members += count
        if self._members > self.limits.members:
            raise refused(archive, f"holds more than {self.limits.members:,} members", "members")

    def room(self, archive: Path, size: int, *, more: str = "would unpack to") -> None:
        """Raise DataError if `size` more bytes (not counted) exceed the limits."""
        total = self._bytes + size
        if total > self.limits.total_bytes:
            raise refused(archive, f"{more} {total:,} bytes, more than {self.limits.total_bytes:,}", "total_bytes")
        if total > self.limits.ratio_from and total > self.limits.ratio * self._packed:
            times = total // max(self._packed, 1)
            raise refused(archive, f"{more} {times:,} times its size, more than {self.limits.ratio:g}", "ratio")

    def unpacked(self, archive: Path, size: int) -> None:
        """Count bytes before they are unpacked. Raises the errors of `room`."""
        self.room(archive, size)
        self._bytes += size


@dataclass(frozen=True)
class Packed:
    """A member as listed by the archive. `key` identifies it; `size` in bytes, unpacked.

    `special`: a link or a device. `unreadable`: the reason why its content can't be read. `checksum`: of its content,
    if the listing has one.
    """

    key: int
    name: str
    size: int
    is_folder: bool = False
    special: bool = False
    unreadable: str | None = None
    checksum: int | None = None

    def repeats(self, other: Packed) -> bool:
        """Return whether both members have the same length and checksum."""
        return self.checksum is not None and (self.size, self.checksum) == (other.size, other.checksum)


class OpenArchive(Protocol):
    """An open archive."""

    @property
    def members(self) -> Sequence[Packed]:
        """All members, in the order of the archive."""
        ...

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        """Unpack the members with these keys to these paths, each completely or not at all, and return the paths.

        Raises DataError if the archive is broken, or a member is larger than listed.
        """
        ...


class Format(Protocol):
    """Opens archives of one format. Raises DataError for a broken one, and for one beyond the limits."""

    def __call__(self, archive: Path, budget: Budget, /) -> AbstractContextManager[OpenArchive]:
        """Return a context manager that opens and closes the archive."""
        ...


def refused(archive: Path, what: str, limit: str | None = None) -> DataError:
    """Return the error for a refused archive; `limit`: the exceeded field of `Limits`."""
    remedy = "It was not unpacked: inspect it, and report it to the publisher or repack it"
    return DataError(f"{archive.name} {what}", f"{remedy}, or raise {setting(limit)} (a setting)" if limit else remedy)


def broken(archive: Path, kind: str, error: Exception) -> DataError:
    """Return the error for an unreadable archive."""
    return DataError(
        f"{archive.name} is a broken {kind} ({error})", "Fetch it again; if it persists, report it to the publisher"
    )


@contextmanager
def placing(target: Path) -> Generator[BinaryIO]:
    """Yield a file for a member, which becomes `target` after a successful block. Raises StorageError."""
    part = target.with_name(f"{target.name}.part")
    with storage_errors(f"write in {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            yield sink
        part.replace(target)
