"""The files that hold one table: one path, or several that are read as one. Whoever takes data takes either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Files = Path | Sequence[Path]


def listed(files: Files) -> tuple[Path, ...]:
    """Return `files` one by one."""
    return (files,) if isinstance(files, Path) else tuple(files)
