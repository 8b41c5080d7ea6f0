"""What the formats of archives have in common: members as they are listed, limits, the refusal.

Which members are refused is decided in `unpack.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.sources import files


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: members, bytes unpacked, and how many times its own size (once above `ratio_from`).

    The defaults leave room for the largest tables of Statistics Canada (about 20 GB, packed 40 times).
    """

    members: int = 10_000
    total_bytes: int = 64 << 30
    ratio: float = 200.0
    ratio_from: int = 64 << 20


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
        """Say whether both are one file: of the same length and checksum."""
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

    def __call__(self, archive: Path, limits: Limits, /) -> AbstractContextManager[OpenArchive]:
        """Return the archive, to be closed by the end of a block."""
        ...


def refused(archive: Path, what: str) -> DataError:
    """The error for an archive that is not unpacked."""
    return DataError(f"{archive.name} {what}", "It was not unpacked: look at it, and tell the publisher or repack it")


def broken(archive: Path, kind: str, error: Exception) -> DataError:
    """The error for an archive that can't be read."""
    return DataError(
        f"{archive.name} is a broken {kind} ({error})", "Fetch it again; if it stays so, tell the publisher"
    )


@contextmanager
def placing(target: Path) -> Generator[BinaryIO]:
    """Yield a file to write a member to, which becomes `target` when the block ends well; raises StorageError."""
    part = target.with_name(f"{target.name}.part")
    with files.writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            yield sink
        part.replace(target)
