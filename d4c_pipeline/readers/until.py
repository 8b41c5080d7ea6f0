"""Presents the beginning of a file as a file: text readers stop after the last row, before notes and totals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Until(io.RawIOBase):
    """The first `end` bytes of a file as a file."""

    def __init__(self, path: Path, end: int) -> None:
        """Open the file at `path`. Raises OSError when it can't be opened."""
        self._handle = path.open("rb", buffering=0)
        self._left = end

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`; return the number of bytes read, 0 at the end."""
        view = memoryview(buffer)[: self._left]
        count = self._handle.readinto(view) if len(view) else 0
        self._left -= count or 0
        return count or 0

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
        super().close()
