"""What the formats of archives have in common: members as they are listed, limits, the refusal.

Which members are refused is decided in `unpack.py`.
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
    """What is left of the limits for one delivery: every archive of it, whatever it lies in, draws on the same one."""

    def __init__(self, limits: Limits, packed: int) -> None:
        """`packed`: the bytes of the outermost archive, which `ratio` is measured by."""
        self.limits = limits
        self._packed = packed
        self._members = self._bytes = 0

    def member(self, archive: Path, count: int = 1) -> None:
        """Count members as they are listed. Raises DataError when there are more than may be."""
        self._members += count
        if self._members > self.limits.members:
            raise refused(archive, f"holds more than {self.limits.members:,} members", "members")

    def room(self, archive: Path, size: int, *, more: str = "would unpack to") -> None:
        """Raise DataError when `size` bytes more (uncounted) are more than may be."""
        total = self._bytes + size
        if total > self.limits.total_bytes:
            raise refused(archive, f"{more} {total:,} bytes, more than {self.limits.total_bytes:,}", "total_bytes")
        if total > self.limits.ratio_from and total > self.limits.ratio * self._packed:
            times = total // max(self._packed, 1)
            raise refused(archive, f"{more} {times:,} times its size, more than {self.limits.ratio:g}", "ratio")

    def unpacked(self, archive: Path, size: int) -> None:
        """Count bytes that are about to be unpacked. Raises DataError as `room` does."""
        self.room(archive, size)
        self._bytes += size


@dataclass(frozen=True)
class Packed:
    """A member as the archive lists it. `key` finds it again; `size` in bytes, unpacked.

    `special`: a link or a device. `unreadable`: why its content can't be had, in words. `checksum`: of its
    content, where the listing has one.
    """

    key: int
    name: str
    size: int
    is_folder: bool = False
    special: bool = False
    unreadable: str | None = None
    checksum: int | None = None

    def repeats(self, other: Packed) -> bool:
        """Return whether both are one file: of the same length and checksum."""
        return self.checksum is not None and (self.size, self.checksum) == (other.size, other.checksum)


class OpenArchive(Protocol):
    """An archive that is open."""

    @property
    def members(self) -> Sequence[Packed]:
        """All members, in the order of the archive."""
        ...

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        """Unpack the members with these keys to these paths, each whole or not at all, and return the paths.

        Raises DataError when the archive is broken, or holds more than it listed.
        """
        ...


class Format(Protocol):
    """Opens archives of one format. Raises DataError for a broken one, and for one beyond the limits."""

    def __call__(self, archive: Path, budget: Budget, /) -> AbstractContextManager[OpenArchive]:
        """Return the archive, to be closed by the end of a block."""
        ...


def refused(archive: Path, what: str, limit: str | None = None) -> DataError:
    """The error for an archive that is not unpacked; `limit`: the field of `Limits` that allows no more."""
    remedy = "It was not unpacked: look at it, and tell the publisher or repack it"
    return DataError(f"{archive.name} {what}", f"{remedy}, or raise {setting(limit)} (a setting)" if limit else remedy)


def broken(archive: Path, kind: str, error: Exception) -> DataError:
    """The error for an archive that can't be read."""
    return DataError(
        f"{archive.name} is a broken {kind} ({error})", "Fetch it again; if it stays so, tell the publisher"
    )


@contextmanager
def placing(target: Path) -> Generator[BinaryIO]:
    """Yield a file to write a member to, which becomes `target` when the block ends well; raises StorageError."""
    part = target.with_name(f"{target.name}.part")
    with storage_errors(f"write in {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            yield sink
        part.replace(target)
