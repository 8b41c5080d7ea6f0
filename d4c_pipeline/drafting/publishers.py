"""Publishers that the platform recognises by host or name, from `publishers.yaml`, and the facts that follow.

A host says who publishes, seldom under which licence: only a publisher with one licence for all its data has one there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from d4c_pipeline.drafting.facts import Facts, Found

# DGUIDs of Canada and of its provinces and territories, in the vintage of the shipped datasets.
# Source: https://www12.statcan.gc.ca/census-recensement/2021/ref/dict/tab/index-eng.cfm?ID=t1_8
DGUIDS = {
    "ca": "2021A000011124",
    **{
        f"ca-{code}": f"2021A0002{number}"
        for code, number in {
            "nl": 10, "pe": 11, "ns": 12, "nb": 13, "qc": 24, "on": 35, "mb": 46, "sk": 47, "ab": 48, "bc": 59,
            "yt": 60, "nt": 61, "nu": 62,
        }.items()
    },
}  # fmt: skip


@dataclass(frozen=True)
class Publisher:
    """A publisher: names, address, the parts of names that it brings, and the licence of all its data if it has one."""

    hosts: tuple[str, ...]
    name: str
    name_fr: str
    url: str
    source: str
    region: str
    ror: str | None = None
    licence: str | None = None
    page: str | None = None
    city: bool = False

    @property
    def dguid(self) -> str | None:
        """The DGUID of the area that the publisher governs; None for a city, whose code its data state if at all."""
        return None if self.city else DGUIDS[self.region]

    @property
    def party(self) -> dict[str, str]:
        """The publisher as a creator in the YAML."""
        party = {"name": self.name, "name_fr": self.name_fr, "url": self.url}
        return party if self.ror is None else {**party, "ror": self.ror}

    def facts(self, why: str, *, licence: bool) -> Facts:
        """Return what follows from the publisher. `why`: the evidence; `licence`: whether its data lie at its hosts."""
        out: Facts = {
            "creators": Found([self.party], why),
            "name.source": Found(self.source, why),
            "name.region": Found(self.region, f"{why}; {self.name} publishes for {self.region}"),
        }
        if self.dguid is not None:
            out["name.dguid"] = Found(self.dguid, f"DGUID of {self.region}")
        if licence and self.licence is not None:
            out["license"] = Found(self.licence, f"{self.page} states it for the data of {self.name}")
        return out


def by_address(address: str) -> Publisher | None:
    """Return the publisher at whose host an address lies."""
    host = (urlsplit(address).hostname or "").lower()
    return next((each for each in _all() if any(host == one or host.endswith(f".{one}") for one in each.hosts)), None)


def by_name(name: str) -> Publisher | None:
    """Return the publisher that a document names, in English or French, among further words."""
    text = name.casefold()
    return next((each for each in _all() if each.name.casefold() in text or each.name_fr.casefold() in text), None)


@cache
def _all() -> tuple[Publisher, ...]:
    listed = yaml.safe_load(Path(__file__).with_name("publishers.yaml").read_text("utf-8"))
    return tuple(Publisher(**{**each, "hosts": tuple(each["hosts"])}) for each in listed)
