"""The port to services that list many datasets at once, the members of families, whatever their number.

Fetching a member is a `Source` (`port.py`) like any other. Which members are wanted, and what a change leads to,
belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Listed:
    """One dataset that a service lists: its `key` there, the vintage it serves now, and what it says of it.

    `facts`: texts for the template of a family (`title_en`, `title_fr`). `archived`: it is no longer updated.
    `corrections`: a digest (hex) of the corrections since the release; None without any.
    """

    key: str
    vintage: Vintage
    facts: Mapping[str, str]
    archived: bool
    corrections: str | None = None

    @property
    def mark(self) -> str:
        """What the listing calls the present state of the dataset: its vintage, and the corrections since."""
        # The digest comes first: the first 16 characters are what the automation tells states apart by.
        return str(self.vintage) if self.corrections is None else f"c{self.corrections[:15]} {self.vintage}"


class Members(Protocol):
    """A service that lists many datasets. Both methods raise what a `Source` raises."""

    def listed(self) -> tuple[Listed, ...]:
        """Return all that the service has, in one request."""
        ...

    def changed(self, day: date) -> dict[str, Vintage]:
        """Return the new vintages of what was released on a day of the publisher's own calendar, in one request."""
        ...
