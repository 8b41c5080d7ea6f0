"""The result of a build of the portal, which its presentations import without templates and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.chain.catalogue_memory import LeftOut


@dataclass(frozen=True)
class PortalBuilt:
    """The folder, the portal's address, pages in the folder, written and removed, and datasets without new pages."""

    folder: Path
    url: str
    pages: int
    written: int
    removed: int
    datasets: int
    has_scripts: bool
    left_out: tuple[LeftOut, ...] = ()
