"""A file of a delivery: its name in the delivery and its path on disk. Choosing files belongs to `inputs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GDB = ".gdb"
DBF = ".dbf"


@dataclass(frozen=True)
class Member:
    """A file (or the folder of a File Geodatabase) to read: `name` in the delivery, `path` on disk."""

    name: str
    path: Path

    @property
    def suffix(self) -> str:
        """The suffix in lower case, with the dot."""
        return suffix_of(self.name)


def suffix_of(name: str) -> str:
    """Return the suffix of a file name, in lower case, with the dot."""
    return PurePosixPath(name).suffix.lower()
