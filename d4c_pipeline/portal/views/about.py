"""What a dataset's page shows beside its newest release: freshness, places of use, related datasets."""

from __future__ import annotations

from dataclasses import dataclass

from d4c_pipeline.metadata.records.documents import plain, shortened
from d4c_pipeline.model.frequency import Freshness, duration
from d4c_pipeline.portal import addresses
from d4c_pipeline.portal.facts import DatasetFacts, SiteFacts
from d4c_pipeline.portal.words import Words

_LONGEST_TITLE = 120


@dataclass(frozen=True)
class AboutPage:
    """`rhythm`: how often there is new data; `fresh`: its state and the day, as a sentence; `good`: none is missing.

    `reuses`: title, address. `related`: title, path, the facts in common. `complete`: how complete the metadata are, as
    a sentence.
    """

    rhythm: str | None
    fresh: str | None
    good: bool
    reuses: tuple[tuple[str, str], ...]
    related: tuple[tuple[str, str, str], ...]
    complete: str | None = None


def about_page(about: DatasetFacts, site: SiteFacts, words: Words) -> AboutPage:
    """Return the facts of a dataset in the language of `words`."""
    texts, own = words["freshness"], 0 if words.language == "en" else 1
    fresh = about.freshness and about.expected and texts[about.freshness].format(date=words.date(about.expected))
    links = ((plain(getattr(each.title, words.language)), addresses.link(each.url)) for each in about.reuses)
    shared = words["more"]["shared"]
    return AboutPage(
        rhythm=about.frequency and _rhythm(about.frequency, words),
        fresh=fresh,
        good=about.freshness is Freshness.CURRENT,
        reuses=tuple((title, address) for title, address in links if address is not None),
        related=tuple(
            (
                shortened(each.title[own] or each.title[1 - own] or each.dataset, _LONGEST_TITLE),
                site.root + addresses.dataset(words.language, each.dataset),
                ", ".join(shared[kind] for kind in each.shared),
            )
            for each in about.related
        ),
        complete=None
        if about.completeness is None
        else texts["completeness"].format(percent=words.number(round(about.completeness * 100))),
    )


def _rhythm(frequency: str, words: Words) -> str:
    texts = words["freshness"]
    found = duration(frequency)
    return texts["words"][frequency] if found is None else words.plural(texts["units"][found[1]], found[0])
