"""RSS and Atom feeds of the torrents, from which a torrent client downloads every new release.

The content of a feed belongs here; `chain` selects the torrents from the ledger. Formats: RSS 2.0
(https://www.rssboard.org/rss-specification) and Atom (RFC 4287), with the `.torrent` as the enclosure of each entry.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from feedgenerator import Atom1Feed, Enclosure, Rss201rev2Feed

from d4c_pipeline.model.addresses import FEED_ATOM, FEED_RSS
from d4c_pipeline.model.texts import clean

_TORRENT_TYPE = "application/x-bittorrent"


@dataclass(frozen=True)
class FeedEntry:
    """A torrent in a feed: `name` of the file, `title` in words, addresses, `torrent_size` in bytes of the `.torrent`.

    `page` is the page for readers (the archive's record, or the torrent itself); `size` is the size of the data.
    """

    name: str
    title: str
    page: str
    torrent_url: str
    torrent_size: int
    info_hash: str
    magnet: str
    size: int
    doi: str | None
    published_at: datetime


def torrent_feeds(entries: Sequence[FeedEntry], *, publisher: str, base_url: str) -> dict[str, bytes]:
    """Return the feeds by their addresses in a store, newest entry first; no feeds without an entry.

    `base_url`: the public address of the store. The bytes depend on the arguments alone.
    """
    if not entries:
        return {}
    ordered = sorted(entries, key=lambda entry: (entry.published_at, entry.name), reverse=True)
    feeds: dict[str, bytes] = {}
    for address, kind in ((FEED_RSS, Rss201rev2Feed), (FEED_ATOM, Atom1Feed)):
        url = f"{base_url.rstrip('/')}/{address}"
        feed = kind(
            title=f"Torrents of {publisher}",
            link=url,
            feed_url=url,
            feed_guid=url,
            description=f"Every published version of every dataset of {publisher}, as torrents.",
            language="en",
            author_name=publisher,
        )
        for entry in ordered:
            feed.add_item(
                title=clean(entry.title),
                link=entry.page,
                description=_described(entry),
                unique_id=f"urn:btih:{entry.info_hash}",
                unique_id_is_permalink=False,
                pubdate=entry.published_at,
                enclosures=[Enclosure(entry.torrent_url, str(entry.torrent_size), _TORRENT_TYPE)],
            )
        written = io.BytesIO()
        feed.write(written, "utf-8")
        feeds[address] = written.getvalue()
    return feeds


def _described(entry: FeedEntry) -> str:
    cited = f", doi:{html.escape(entry.doi)}" if entry.doi else ""
    magnet = html.escape(entry.magnet)
    return f'{html.escape(clean(entry.name))}, {entry.size:,} bytes{cited}. <a href="{magnet}">Magnet</a>'
