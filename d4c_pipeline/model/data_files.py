"""The files of a table: one path, or several paths that are read as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Files = Path | Sequence[Path]


def listed(files: Files) -> tuple[Path, ...]:
    """Return `files` as a tuple."""
    return (files,) if isinstance(files, Path) else tuple(files)
