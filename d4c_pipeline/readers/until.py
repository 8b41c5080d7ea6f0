"""The beginning of a file as a file: text readers stop where rows end, before notes and totals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Until(io.RawIOBase):
    """The first `end` bytes of a file, as a file of its own."""

    def __init__(self, path: Path, end: int) -> None:
        """Open it. Raises OSError when that can't be."""
        self._handle = path.open("rb", buffering=0)
        self._left = end

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`; return how many bytes there were, 0 at the end."""
        view = memoryview(buffer)[: self._left]
        count = self._handle.readinto(view) if len(view) else 0
        self._left -= count or 0
        return count or 0

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
        super().close()
