"""What a rebuild of the catalogue tells the next one, as JSON in the ledger.

Here belong the facts that no other table of the ledger has: what is missing and why, vintages that become due, and work
that an unreachable mirror still needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class LeftOut:
    """A dataset that is missing from the catalogue, or without new pages of the portal: the cause and the remedy."""

    dataset: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class WithoutRecords:
    """A release in the catalogue whose records can't be made, with the cause and the remedy."""

    dataset: str
    release: str
    cause: str
    remedy: str


@dataclass
class Memory:
    """The memory of the last rebuild.

    `faulty`: by the release's id. `due`: the moment at which the order of a dataset's versions changes by itself.
    `again`, `pages`, `stale`: the datasets to compute, the pages (by their first dataset) to write and the addresses to
    remove once more, because a mirror was unreachable or a rebuild was killed. `root`: a digest of what `catalog.json`
    was made of, and of its bytes.
    """

    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    faulty: dict[int, WithoutRecords] = field(default_factory=dict[int, WithoutRecords])
    due: dict[str, datetime] = field(default_factory=dict[str, datetime])
    again: set[str] = field(default_factory=set[str])
    pages: set[str] = field(default_factory=set[str])
    stale: set[str] = field(default_factory=set[str])
    root: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Memory:
        """Read the memory from the result of a rebuild; that of an earlier form has less."""
        return cls(
            left_out=[LeftOut(**entry) for entry in result.get("left_out", ())],
            faulty={int(number): WithoutRecords(**entry) for number, entry in result.get("faulty", {}).items()},
            due={dataset: datetime.fromisoformat(moment) for dataset, moment in result.get("due", {}).items()},
            again=set(result.get("again", ())),
            pages=set(result.get("pages", ())),
            stale=set(result.get("stale", ())),
            root=tuple(result.get("root", ("", ""))),
        )

    def due_at(self, moment: datetime) -> set[str]:
        """Return the datasets whose order of versions changed by itself until `moment`."""
        return {dataset for dataset, at in self.due.items() if at <= moment}

    def to_json(self) -> dict[str, Any]:
        """Return the memory as JSON."""
        return {
            "left_out": [asdict(entry) for entry in self.left_out],
            "faulty": {str(number): asdict(entry) for number, entry in sorted(self.faulty.items())},
            "due": {dataset: moment.isoformat() for dataset, moment in sorted(self.due.items())},
            "again": sorted(self.again),
            "pages": sorted(self.pages),
            "stale": sorted(self.stale),
            "root": list(self.root),
        }
