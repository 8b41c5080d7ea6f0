"""The pages over all datasets: home, list, torrents, status, and the documents of the search.

They are built of cards, one per dataset, small enough to keep all of them at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self

from d4c_pipeline.metadata.records.documents import plain, shortened
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.portal import addresses
from d4c_pipeline.portal.facts import ReleaseFacts, SiteFacts
from d4c_pipeline.portal.views.release import format_of
from d4c_pipeline.portal.words import Words

PAGE = 60
"""Datasets on a page of the list."""
NEWEST = 6
_LONGEST_TITLE = 300


@dataclass(frozen=True)
class TorrentRow:
    """A torrent of a newest release."""

    file: str
    size: int
    href: str
    magnet: str | None


@dataclass(frozen=True)
class Listed:
    """What the pages of the list show of a dataset: all facts of `shown`."""

    dataset: str
    title: tuple[str, str]
    provider: tuple[str, str]
    picture: str | None
    rows: int
    size: int
    vintage: str
    version: str


@dataclass(frozen=True)
class TorrentsOfDataset:
    """What the page of torrents shows of a dataset."""

    dataset: str
    title: tuple[str, str]
    torrents: tuple[TorrentRow, ...]


@dataclass(frozen=True)
class Card:
    """A dataset as lists show it, of its newest release.

    `title`, `provider`: in English and French. `checks_wrong`: failed checks. Times are ISO 8601.
    """

    dataset: str
    title: tuple[str, str]
    keywords: tuple[str, ...]
    provider: tuple[str, str]
    region: str
    package: str
    licence: str
    formats: tuple[str, ...]
    vintage: str
    version: str
    rows: int
    size: int
    releases: int
    published_at: str
    picture: str | None
    copies: int
    copies_intact: int
    verified_at: tuple[str, str] | None
    checks: int
    checks_wrong: int
    looked_at: str | None
    pending: bool
    torrents: tuple[TorrentRow, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        lists = ("title", "provider", "keywords", "formats")
        torrents = tuple(TorrentRow(**each) for each in value["torrents"])
        verified = tuple(value["verified_at"]) if value["verified_at"] else None
        return cls(
            **{**value, **{name: tuple(value[name]) for name in lists}, "torrents": torrents, "verified_at": verified}
        )

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON-ready values."""
        return asdict(self)

    @property
    def listed(self) -> Listed:
        """What the pages of the list show of the dataset."""
        return Listed(**{each.name: getattr(self, each.name) for each in fields(Listed)})

    @property
    def shared(self) -> TorrentsOfDataset:
        """What the page of torrents shows of the dataset."""
        return TorrentsOfDataset(self.dataset, self.title, self.torrents)


def card(facts: ReleaseFacts) -> Card:
    """Return the card of a dataset; `facts` are those of its newest release."""
    published = facts.published
    files = sum(copy.files for copy in facts.copies)
    seen = sorted(copy.verified_at for copy in facts.copies if copy.intact and copy.verified_at)
    geometry, party = bool(published.geometry_types), (published.providers or published.creators)[0]
    wanted = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)
    return Card(
        dataset=published.dataset,
        title=(shortened(published.title.en, _LONGEST_TITLE), shortened(published.title.fr, _LONGEST_TITLE)),
        keywords=tuple(dict.fromkeys(map(plain, (*published.keywords.en, *published.keywords.fr)))),
        provider=(plain(party.named("en")), plain(party.named("fr"))),
        region=facts.region,
        package=facts.package,
        licence=published.licence.spdx or plain(published.licence.title),
        formats=tuple(
            dict.fromkeys(format_of(each, geometry=geometry) for each in published.files if each.role in wanted)
        ),
        vintage=str(published.vintage),
        version=str(published.version),
        rows=published.rows,
        size=published.bytes,
        releases=len(facts.versions),
        published_at=published.published_at.isoformat(),
        picture=facts.picture,
        copies=files,
        copies_intact=sum(copy.files for copy in facts.copies if copy.intact),
        verified_at=(seen[0].isoformat(), seen[-1].isoformat()) if seen else None,
        checks=len(facts.checks),
        checks_wrong=sum(check.verdict == "failure" for check in facts.checks),
        looked_at=facts.looked_at and facts.looked_at.isoformat(),
        pending=facts.pending,
        torrents=tuple(
            TorrentRow(each.file, each.data_size, published.href(each.address), addresses.link(each.magnet))
            for each in published.torrents
        ),
    )


def titled(card: Card | Listed | TorrentsOfDataset, words: Words) -> str:
    """Return the title in a language, else in the other."""
    own, other = card.title if words.language == "en" else reversed(card.title)
    return own or other or card.dataset


def shown(card: Listed, site: SiteFacts, words: Words) -> dict[str, Any]:
    """Return a dataset as the templates show it."""
    return {
        "path": site.root + addresses.dataset(words.language, card.dataset),
        "picture": card.picture and f"{site.root}{addresses.PICTURES}/{card.picture}.webp",
        "title": titled(card, words),
        "provider": card.provider[0 if words.language == "en" else 1],
        "rows": words.count("rows", card.rows),
        "vintage": card.vintage,
        "version": card.version,
        "size": words.size(card.size),
    }


def numbers(cards: Sequence[Card], words: Words) -> list[tuple[str, str]]:
    """Return the totals of the home page with their labels."""
    totals = {
        "datasets": len(cards),
        "releases": sum(card.releases for card in cards),
        "rows": sum(card.rows for card in cards),
        "copies": sum(card.copies_intact for card in cards),
    }
    return [(words.number(value), words["labels"][name]) for name, value in totals.items()]


def newest(cards: Iterable[Card]) -> list[Card]:
    """Return the cards of the last published releases, the newest first."""
    return sorted(cards, key=lambda card: (card.published_at, card.dataset), reverse=True)[:NEWEST]


def status(cards: Sequence[Card], words: Words) -> dict[str, Any]:
    """Return what the status page shows: checks, copies, the last audit, and the sources."""
    wrong = [card for card in cards if card.checks_wrong]
    seen = [moment for card in cards if card.verified_at for moment in card.verified_at]
    moments = (words.date(datetime.fromisoformat(pick(seen))) for pick in (min, max)) if seen else None
    return {
        "wrong": [
            (titled(card, words), words.plural(words["checks_failed"], card.checks_wrong), card.dataset)
            for card in wrong
        ],
        "intact": words.number(sum(card.copies_intact for card in cards)),
        "copies": words.number(sum(card.copies for card in cards)),
        "good": all(card.copies_intact == card.copies for card in cards),
        "audit": moments and words["status_page"]["audit"].format(date=next(moments), date2=next(moments)),
        "sources": [
            (
                titled(card, words),
                card.dataset,
                card.looked_at and words.date(datetime.fromisoformat(card.looked_at)),
                card.pending,
            )
            for card in cards
        ],
    }


def documents(cards: Sequence[Card], words: Sequence[Words]) -> dict[str, Any]:
    """Return the documents of the search, both languages in one; lists refer to facets by their place.

    A dataset: id, English and French title (empty if the same), keywords, provider, package, region, licence, vintage,
    formats, version, picture (or 0).
    """
    english = words[0]
    lists: dict[str, list[str]] = {name: [] for name in ("providers", "packages", "regions", "licences", "formats")}

    def place(name: str, label: str) -> int:
        values = lists[name]
        if label not in values:
            values.append(label)
        return values.index(label)

    datasets = [
        [
            card.dataset,
            card.title[0],
            card.title[1] if card.title[1] != card.title[0] else "",
            " ".join(card.keywords),
            place("providers", card.provider[0]),
            place("packages", card.package),
            place("regions", card.region),
            place("licences", card.licence),
            card.vintage,
            [place("formats", english["formats"].get(each, each)) for each in card.formats],
            card.version,
            card.picture or 0,
        ]
        for card in cards
    ]
    labels = {
        name: {each.language: [each[name].get(value, value) for value in lists[name]] for each in words}
        for name in ("packages", "regions")
    }
    french = dict(card.provider for card in cards)
    if any(french[name] != name for name in lists["providers"]):
        labels["providers"] = {"fr": [french[name] for name in lists["providers"]]}
    return {**lists, "labels": labels, "datasets": datasets}
