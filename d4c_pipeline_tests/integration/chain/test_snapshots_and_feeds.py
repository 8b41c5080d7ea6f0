"""The catalogue has a torrent of its own, and feeds name every torrent."""

from __future__ import annotations

import hashlib
from typing import Any

import libtorrent as lt
from lxml import etree

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
    assert made.magnet.replace("&", "&amp;") in str(item.findtext("description"))
    assert "doi:" not in str(item.findtext("description"))  # a test DOI never resolves
    atom = etree.fromstring(chain.opened.primary.read_bytes(FEED_ATOM))
    (entry,) = atom.findall(f"{ATOM}entry")
    links = {link.get("rel"): link.get("href") for link in entry.findall(f"{ATOM}link")}
    assert links["enclosure"] == chain.opened.primary.url(made.address)
    assert atom.findtext(f"{ATOM}updated") == entry.findtext(f"{ATOM}updated")
    before = chain.opened.primary.read_bytes(FEED_ATOM), chain.opened.primary.read_bytes(FEED_RSS)
    chain.run("catalogue")
    assert (chain.opened.primary.read_bytes(FEED_ATOM), chain.opened.primary.read_bytes(FEED_RSS)) == before
