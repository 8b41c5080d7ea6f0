"""The port to services that list many datasets at once: the members of families.

A member is fetched by a `Source` (`port.py`). The caller selects members and decides what follows from a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Listed:
    """A dataset that a service lists: its `key` there, the vintage that is served now, and its facts.

    `facts`: texts for the template of a family (`title_en`, `title_fr`). `archived`: the dataset is no longer updated.
    `corrections`: a digest (hex) of the corrections since the release; None without any.
    """

    key: str
    vintage: Vintage
    facts: Mapping[str, str]
    archived: bool
    corrections: str | None = None

    @property
    def mark(self) -> str:
        """The listed state of the dataset: its vintage, and the corrections since."""
        # The digest comes first: the automation distinguishes states by their first 16 characters.
        return str(self.vintage) if self.corrections is None else f"c{self.corrections[:15]} {self.vintage}"


class Members(Protocol):
    """A service that lists many datasets. Both methods raise what a `Source` raises."""

    def listed(self) -> tuple[Listed, ...]:
        """Return all datasets of the service, in one request."""
        ...

    def changed(self, day: date) -> dict[str, Vintage]:
        """Return the new vintages of the datasets released on a day of the publisher's calendar, in one request."""
        ...
