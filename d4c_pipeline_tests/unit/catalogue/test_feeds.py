"""Feeds of releases and torrents, as feedparser and readers of JSON Feed read them; archives that only grow."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import feedparser
import pytest

from d4c_pipeline.catalogue import feeds
from d4c_pipeline.metadata.published import ListedRelease
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import FEED_ATOM, FEED_RSS
from d4c_pipeline_tests.support.published import SITE, a_published, hostile

ATOM = "catalogue/releases.en.atom"
JSON = "catalogue/releases.en.json"


def _many(count: int) -> list[ListedRelease]:
    first = a_published()
    return [
        replace(
            first, name=f"r{number:04}", doi=f"10.5281/{number}", published_at=first.published_at + timedelta(number)
        )
        for number in range(count)
    ]


def _made(released: list[Any], site: Site = SITE, **more: Any) -> dict[str, bytes]:
    return dict(feeds.documents(released, site, **more))


def test_a_feed_reads_as_what_was_published_newest_first_in_each_language() -> None:
    made = _made([a_published(), a_published(version="1.0.1", day=1)])
    for language, title in (("en", "Provinces and territories, 2021, v1.0.1"), ("fr", "Provinces et territoires, Qu")):
        read = feedparser.parse(made[f"catalogue/releases.{language}.atom"])
        assert not read.bozo
        assert read.feed.language == language
        assert read.entries[0].title.startswith(title)
        assert read.entries[0].link == "https://doi.org/10.5281/d4c.2021.1.0.1"
        assert read.entries[0].published == "2026-11-23T01:02:03Z"
        document = json.loads(made[f"catalogue/releases.{language}.json"])
        assert [item["id"] for item in document["items"]] == [entry.id for entry in read.entries]
        assert document["language"] == language
        assert document["version"] == "https://jsonfeed.org/version/1.1"
    summary = feedparser.parse(made[ATOM]).entries[0].summary
    assert summary == "13 rows, 1004 bytes. Change: minor (column area added). doi:10.5281/d4c.2021.1.0.1"


def test_data_in_parts_is_one_entry_and_its_torrents_are_enclosures() -> None:
    made = _made([a_published(parts=45)])
    for address in (ATOM, FEED_ATOM):
        (entry,) = feedparser.parse(made[address]).entries
        assert len(entry.enclosures) == 45
        assert entry.enclosures[0].href.startswith("https://data.example.ca/torrents/")
    assert "magnet:?xt=urn:btih:" in entry.content[0].value
    (item,) = json.loads(made["catalogue/releases.fr.json"])["items"]
    assert len(item["attachments"]) == 45
    items = feedparser.parse(made[FEED_RSS]).entries
    assert len(items) == 45  # a torrent client takes one enclosure of an item
    assert all(len(each.enclosures) == 1 for each in items)


@pytest.mark.parametrize(("count", "pages"), [(1, 0), (49, 0), (50, 1), (101, 2), (199, 3), (200, 4)])
def test_the_archive_leads_through_every_release(count: int, pages: int) -> None:
    made = _made(_many(count))
    assert sum(bool(re.fullmatch(r"catalogue/releases\.en\.\d+\.atom", address)) for address in made) == pages
    seen: set[str] = set()
    address, base = ATOM, "https://data.example.ca/"
    while True:
        read = feedparser.parse(made[address])
        assert len(read.entries) <= 100
        seen |= {entry.id for entry in read.entries}
        older = [link.href for link in read.feed.links if link.rel == "prev-archive"]
        if not older:
            break
        address = older[0].removeprefix(base)
    assert len(seen) == count
    assert len(json.loads(made[JSON])["items"]) == min(count, 100)


@pytest.mark.parametrize(("count", "written"), [(199, ""), (200, "en"), (201, "fr"), (202, ""), (301, "fr")])
def test_a_full_page_of_the_archive_never_changes_and_a_release_writes_one_language(count: int, written: str) -> None:
    before, after = _made(_many(count - 1)), _made(_many(count))
    pages = {address for address in after if re.search(r"releases\.(en|fr)\.\d+\.atom$", address)}
    own = {f"catalogue/releases.{written}.{count // 50 - 1}.atom"} if written else set[str]()
    assert pages - before.keys() == own
    assert all(after[address] == before[address] for address in pages & before.keys())
    current = {address for address, content in after.items() if before.get(address) != content} - pages
    assert {ATOM, JSON, FEED_ATOM, FEED_RSS} <= current


def test_the_torrents_feed_and_the_releases_feed_share_the_archive() -> None:
    made = _made(_many(101))
    links = {link.rel: link.href for link in feedparser.parse(made[FEED_ATOM]).feed.links}
    assert links["prev-archive"] == "https://data.example.ca/catalogue/releases.en.1.atom"
    links = {link.rel: link.href for link in feedparser.parse(made["catalogue/releases.en.0.atom"]).feed.links}
    assert links["current"] == f"https://data.example.ca/{ATOM}"
    assert "next-archive" not in links


def test_a_feed_of_a_dataset_is_called_by_its_title() -> None:
    made = _made([a_published()], dataset="provinces")
    read = feedparser.parse(made["catalogue/provinces/releases.fr.atom"])
    assert read.feed.title == "Versions publiées de Provinces et territoires, Québec compris"
    assert read.feed.id == "urn:d4c:feed:releases:fr:provinces"
    assert {FEED_ATOM, FEED_RSS}.isdisjoint(made)


def test_hostile_texts_and_stores_without_an_address_make_well_formed_feeds() -> None:
    for case, published in hostile().items():
        for address, content in _made([published], published.site).items():
            if address.endswith(".json"):
                assert json.loads(content)["items"], case
            else:
                assert not feedparser.parse(content).bozo, (case, address)
                assert b"<script" not in content
            assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", content.decode())
    nowhere = hostile()["no public store"]
    (entry,) = json.loads(_made([nowhere], nowhere.site)[JSON])["items"]
    assert entry["external_url"] == "provinces/2021/1.0.0.json"


def test_the_same_releases_in_any_order_give_the_same_bytes_and_none_gives_no_feed() -> None:
    released = _many(120)
    assert _made(released) == _made(released[::-1])
    assert _made([]) == {}


def test_a_page_waits_for_releases_that_may_write_it_at_most_until_the_next_is_full() -> None:
    assert feeds.archived(149, 0) == {"en": 1, "fr": 1}  # 49 to 148 are in the feed
    assert feeds.archived(149, 1) == {"en": 2, "fr": 1}
    assert feeds.archived(149, 50) == {"en": 2, "fr": 2}
    assert feeds.archived(150, 0) == {"en": 2, "fr": 2}
    assert [feeds.since_full(total) for total in (0, 49, 50, 99, 100)] == [0, 49, 49, 49, 99]
