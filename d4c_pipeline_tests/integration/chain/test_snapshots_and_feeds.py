"""The catalogue has a torrent of its own, and feeds name every torrent."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import libtorrent as lt
from lxml import etree

from d4c_pipeline.catalogue.feed import FeedEntry, torrent_feeds
from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, FEED_ATOM, FEED_RSS
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

ATOM = "{http://www.w3.org/2005/Atom}"


def test_the_newest_snapshot_is_the_catalogue_and_serves_as_a_seed(chain: Chain) -> None:
    chain.run()
    (snapshot,) = chain.opened.ledger.torrents.snapshots()
    content = chain.opened.primary.read_bytes(snapshot.address)
    assert content == chain.opened.primary.read_bytes(CATALOGUE_PARQUET)
    assert snapshot.sha256 == hashlib.sha256(content).hexdigest()
    data = chain.opened.primary.read_bytes(snapshot.torrent.address)
    read: Any = lt.bdecode(data)
    assert str(lt.load_torrent_buffer(data).info_hashes.v1) == snapshot.torrent.info_hash
    assert read[b"info"][b"name"].decode() == f"catalogue-{snapshot.sha256[:12]}.parquet"
    (url,) = snapshot.torrent.web_seeds
    with answering(chain.opened):
        assert try_web_seed(url, pieces_of(data)).ok
    # The same catalogue again is the same snapshot.
    chain.run("catalogue")
    assert [one.sha256 for one in chain.opened.ledger.torrents.snapshots()] == [snapshot.sha256]


def test_old_snapshots_go_and_the_newest_stay(chain: Chain) -> None:
    chain.run()
    for number in range(7):
        # The words of a dataset stand in the items, which come of the ledger: another archive record is enough.
        release = chain.newest()
        item = chain.opened.ledger.publications.item(release)
        assert item is not None
        chain.opened.ledger.publications.record_item(
            release, {**item, "properties": {**item["properties"], "title": f"Places {number}"}}
        )
        catalogue.rebuild(chain.opened, [chain.dataset])
    kept = chain.opened.ledger.torrents.snapshots()
    assert len(kept) == 5
    folder = chain.home / "store" / "snapshots"
    assert {path.name for path in folder.iterdir()} == {one.address.removeprefix("snapshots/") for one in kept}
    torrents = {path.name for path in (chain.home / "store" / "torrents").glob("catalogue-*")}
    assert torrents == {one.torrent.address.removeprefix("torrents/") for one in kept}
    assert kept[0].sha256 == hashlib.sha256(chain.opened.primary.read_bytes(CATALOGUE_PARQUET)).hexdigest()


def test_the_feeds_name_the_torrent_where_it_lies(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    (made,) = chain.opened.ledger.publications.torrents(release).values()
    deposit = chain.opened.ledger.deposits.of(release)
    assert deposit is not None
    size = len(chain.opened.primary.read_bytes(made.address))
    rss = etree.fromstring(chain.opened.primary.read_bytes(FEED_RSS))
    (item,) = rss.findall("channel/item")
    (enclosure,) = item.findall("enclosure")
    assert dict(enclosure.attrib) == {
        "url": chain.opened.primary.url(made.address),
        "length": str(size),
        "type": "application/x-bittorrent",
    }
    assert item.findtext("guid") == f"urn:btih:{made.info_hash}"
    assert item.find("guid").get("isPermaLink") == "false"  # pyright: ignore[reportOptionalMemberAccess]
    assert str(deposit.doi) in str(item.findtext("description"))
    atom = etree.fromstring(chain.opened.primary.read_bytes(FEED_ATOM))
    (entry,) = atom.findall(f"{ATOM}entry")
    links = {link.get("rel"): link.get("href") for link in entry.findall(f"{ATOM}link")}
    assert links["enclosure"] == chain.opened.primary.url(made.address)
    assert atom.findtext(f"{ATOM}updated") == entry.findtext(f"{ATOM}updated")
    before = chain.opened.primary.read_bytes(FEED_ATOM), chain.opened.primary.read_bytes(FEED_RSS)
    chain.run("catalogue")
    assert (chain.opened.primary.read_bytes(FEED_ATOM), chain.opened.primary.read_bytes(FEED_RSS)) == before


ENTRY = FeedEntry(
    name="a.parquet",
    title="Stops & <shapes>, 2021",
    page="https://archive.example.org/1",
    torrent_url="https://data.example.org/torrents/a.torrent",
    torrent_size=321,
    info_hash="ab" * 20,
    magnet="magnet:?xt=urn:btih:" + "ab" * 20 + "&dn=a",
    size=1234,
    doi="10.5072/a.1",
    published_at=datetime(2026, 11, 1, tzinfo=UTC),
)


def test_a_feed_is_ordered_dated_and_escaped() -> None:
    newer = replace(ENTRY, name="b.parquet", info_hash="cd" * 20, published_at=datetime(2026, 11, 2, tzinfo=UTC))
    feeds = torrent_feeds([ENTRY, newer], publisher="Data & Co", base_url="https://data.example.org/")
    assert feeds == torrent_feeds([newer, ENTRY], publisher="Data & Co", base_url="https://data.example.org")
    rss, atom = etree.fromstring(feeds[FEED_RSS]), etree.fromstring(feeds[FEED_ATOM])
    assert [item.findtext("guid") for item in rss.findall("channel/item")] == [
        f"urn:btih:{digits * 20}" for digits in ("cd", "ab")
    ]
    assert rss.findtext("channel/lastBuildDate") == "Mon, 02 Nov 2026 00:00:00 +0000"
    assert rss.findtext("channel/item/title") == "Stops & <shapes>, 2021"
    # RFC 4287: id, title and updated are required of the feed and of each entry; an author of the feed.
    for element in (atom, *atom.findall(f"{ATOM}entry")):
        assert all(element.findtext(f"{ATOM}{name}") for name in ("id", "title", "updated"))
    assert atom.findtext(f"{ATOM}author/{ATOM}name") == "Data & Co"
    assert atom.findtext(f"{ATOM}updated") == "2026-11-02T00:00:00+00:00"
    own = {link.get("rel"): link.get("href") for link in atom.findall(f"{ATOM}link")}
    assert own["self"] == "https://data.example.org/catalogue/torrents.atom"
    assert torrent_feeds([], publisher="a", base_url="https://a.example.org") == {}
