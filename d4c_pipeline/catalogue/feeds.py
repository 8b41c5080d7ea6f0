"""Feeds of releases and of their torrents: Atom (RFC 4287) and JSON Feed 1.1, per language, for all and for a dataset.

A feed has its newest 100 releases and links to archive pages (RFC 5005), which follow the order of publication: a new
release changes the feed and, once in a hundred, adds a page. Torrent clients also get RSS, with an item per torrent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Literal
from xml.etree import ElementTree as Xml

from d4c_pipeline.metadata.published import TONGUES, ListedRelease, PublishedTorrent, Tongue
from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import FEED_ATOM, FEED_RSS

PAGE = 100
"""Releases in a feed and in a page of its archive."""
Kind = Literal["releases", "torrents"]
_ATOM = "http://www.w3.org/2005/Atom"
_HISTORY = "http://purl.org/syndication/history/1.0"
_TORRENT_TYPE = "application/x-bittorrent"
_TITLES = {
    ("releases", "en"): "Releases of {}",
    ("releases", "fr"): "Versions publiées de {}",
    ("torrents", "en"): "Torrents of {}",
    ("torrents", "fr"): "Torrents de {}",
}
_BUMPS = {"none": "première version", "patch": "correctif", "minor": "mineur", "major": "majeur"}


@dataclass(frozen=True)
class Feed:
    """A feed: its kind, language and dataset (None for all), which determine its title and its addresses."""

    kind: Kind
    language: Tongue
    title: str
    dataset: str | None = None

    def address(self, suffix: str, page: int | None = None) -> str:
        """Return the address of the feed, or of a page of its archive, in a store."""
        if self.kind == "torrents" and self.dataset is None and page is None and (self.language, suffix) == _KNOWN:
            return FEED_ATOM
        folder = f"catalogue/{self.dataset}" if self.dataset else "catalogue/feeds"
        name = f"{self.kind}.{self.language}"
        return f"{folder}/{name}{suffix}" if page is None else f"{folder}/{name}.{page}{suffix}"


_KNOWN = ("en", ".atom")  # the torrents' feed that existed first, at FEED_ATOM


def documents(
    released: Iterable[ListedRelease], site: Site, *, skipped: int = 0, dataset: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the feeds of `released`: address in a store, bytes. Without a release there are no feeds.

    `dataset`: the releases belong to this dataset. `skipped`: the number of older releases that are left out, a
    multiple of 100; their archive pages are not rebuilt. Of `n` releases the newest changes at most two full pages, so
    `n // 100 * 100 - 200` may be skipped. A release without a torrent counts in the torrents' feed, without an entry.
    """
    if skipped % PAGE:
        raise ValueError(f"{skipped} older releases are no full pages of {PAGE}")
    ordered = sorted(released, key=lambda release: (release.published_at, release.name))
    if not ordered:
        return
    subjects: dict[Tongue, str] = {
        language: plain(getattr(ordered[-1].title, language)) if dataset else plain(site.publisher)
        for language in TONGUES
    }
    kinds: tuple[Kind, ...] = ("releases", "torrents")
    for kind in kinds:
        for language in TONGUES:
            feed = Feed(kind, language, _TITLES[kind, language].format(subjects[language]), dataset)
            yield from _pages(feed, ordered, site, skipped)
    if dataset is None:
        yield FEED_RSS, _rss(ordered[-PAGE:], site)


def _pages(feed: Feed, ordered: Sequence[ListedRelease], site: Site, skipped: int) -> Iterator[tuple[str, bytes]]:
    total = skipped + len(ordered)
    full = total // PAGE
    current = ordered[-PAGE:]
    archive = full - 1 if total > PAGE else None
    for suffix, render in ((".atom", _atom), (".json", _json)):
        yield feed.address(suffix), render(feed, current, site, None, archive)
        for page in range(skipped // PAGE, full if total > PAGE else 0):
            start = page * PAGE - skipped
            yield feed.address(suffix, page), render(feed, ordered[start : start + PAGE], site, page, full - 1)


def _atom(feed: Feed, entries: Sequence[ListedRelease], site: Site, page: int | None, last: int | None) -> bytes:
    own = feed.address(".atom", page)
    root = Xml.Element("feed", {"xmlns": _ATOM, "xmlns:fh": _HISTORY, "xml:lang": feed.language})
    _text(root, "title", feed.title)
    # RFC 5005: the pages of an archive are one feed. The id stays when the store moves.
    _text(root, "id", ":".join(filter(None, ("urn:d4c:feed", feed.kind, feed.language, feed.dataset))))
    _text(root, "updated", _time(entries[-1].published_at))
    _text(Xml.SubElement(root, "author"), "name", plain(site.publisher))
    _link(root, "self", site.href(own, own), "application/atom+xml")
    if page is not None:
        Xml.SubElement(root, "fh:archive")
        _link(root, "current", site.href(feed.address(".atom"), own), "application/atom+xml")
    for relation, number in _neighbours(page, last):
        _link(root, relation, site.href(feed.address(".atom", number), own), "application/atom+xml")
    for release in reversed(entries):
        if feed.kind == "torrents" and not release.torrents:
            continue
        entry = Xml.SubElement(root, "entry")
        _text(entry, "title", plain(release.titled(feed.language)))
        _text(entry, "id", _identifier(release))
        _text(entry, "published", _time(release.published_at))
        _text(entry, "updated", _time(release.published_at))
        _link(entry, "alternate", landing_page(release, site, own), "text/html")
        _link(entry, "related", site.href(release.item_address, own), "application/geo+json")
        if feed.kind == "torrents":
            for torrent in release.torrents:
                size = {} if torrent.size is None else {"length": str(torrent.size)}
                _link(entry, "enclosure", site.href(torrent.address, own), _TORRENT_TYPE, title=torrent.file, **size)
            _text(entry, "content", _magnets(release), type="html")
        else:
            _text(entry, "summary", _summary(release, feed.language), type="text")
    return _xml(root)


def _json(feed: Feed, entries: Sequence[ListedRelease], site: Site, page: int | None, last: int | None) -> bytes:
    own = feed.address(".json", page)
    older = [number for relation, number in _neighbours(page, last) if relation == "prev-archive"]
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "language": feed.language,
        "feed_url": site.href(own, own),
        **({"next_url": site.href(feed.address(".json", older[0]), own)} if older else {}),
        "authors": [{"name": plain(site.publisher)}],
        "items": [
            {
                "id": _identifier(release),
                "url": landing_page(release, site, own),
                "title": plain(release.titled(feed.language)),
                "date_published": _time(release.published_at),
                "language": feed.language,
                **(
                    {
                        "content_html": _magnets(release),
                        "attachments": [
                            {
                                "url": site.href(torrent.address, own),
                                "mime_type": _TORRENT_TYPE,
                                "title": torrent.file,
                                **({"size_in_bytes": torrent.size} if torrent.size is not None else {}),
                            }
                            for torrent in release.torrents
                        ],
                    }
                    if feed.kind == "torrents"
                    else {
                        "content_text": _summary(release, feed.language),
                        "external_url": site.href(release.item_address, own),
                    }
                ),
            }
            for release in reversed(entries)
            if feed.kind == "releases" or release.torrents
        ],
    }
    return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _rss(entries: Sequence[ListedRelease], site: Site) -> bytes:
    """Return the torrents as RSS 2.0, one item for each: torrent clients read one enclosure per item."""
    root = Xml.Element("rss", {"version": "2.0", "xmlns:atom": _ATOM})
    channel = Xml.SubElement(root, "channel")
    _text(channel, "title", _TITLES["torrents", "en"].format(plain(site.publisher)))
    _text(channel, "link", site.href(FEED_RSS, FEED_RSS))
    _text(channel, "description", "The torrents of the newest releases.")
    _text(channel, "language", "en")
    _link(channel, "self", site.href(FEED_RSS, FEED_RSS), "application/rss+xml", tag="atom:link")
    _text(channel, "lastBuildDate", f"{entries[-1].published_at:%a, %d %b %Y %H:%M:%S +0000}")
    for release in reversed(entries):
        for torrent in release.torrents:
            item = Xml.SubElement(channel, "item")
            part = torrent.file.removeprefix(release.name).partition(".parquet")[0].strip("_")
            _text(item, "title", f"{plain(release.titled('en'))}{f', {part}' if part else ''}")
            _text(item, "link", landing_page(release, site, FEED_RSS))
            _text(item, "guid", f"urn:btih:{torrent.info_hash}", isPermaLink="false")
            _text(item, "pubDate", f"{release.published_at:%a, %d %b %Y %H:%M:%S +0000}")
            _text(item, "description", f"{_magnet(torrent)}{_cited(release)}")
            url, size = site.href(torrent.address, FEED_RSS), str(torrent.size or 0)
            Xml.SubElement(item, "enclosure", {"url": url, "length": size, "type": _TORRENT_TYPE})
    return _xml(root)


def landing_page(release: ListedRelease, site: Site, document: str) -> str:
    """Return the page for readers: the DOI, else the portal's page, the archive's record or the STAC item."""
    page = site.page(release.dataset, release.vintage, release.version)
    return release.doi_url or page or release.archive_url or site.href(release.item_address, document)


def _neighbours(page: int | None, last: int | None) -> Iterator[tuple[str, int]]:
    """The archive pages before and after a page; `page` is None for the feed itself, `last` the newest full page."""
    if last is None:
        return
    if page is None:
        yield "prev-archive", last
        return
    if page > 0:
        yield "prev-archive", page - 1
    if page < last:
        yield "next-archive", page + 1


def _summary(release: ListedRelease, language: Tongue) -> str:
    bump = release.change.bump.name.lower()
    if language == "fr":
        return (
            f"{release.rows} enregistrements, {release.bytes} octets. Changement : {_BUMPS[bump]}."
            f"{_cited(release, ' ')}"
        )
    reasons = f" ({'; '.join(map(plain, release.change.reasons))})" if release.change.reasons else ""
    first = "first version" if bump == "none" else bump
    return f"{release.rows} rows, {release.bytes} bytes. Change: {first}{reasons}.{_cited(release, ' ')}"


def _magnets(release: ListedRelease) -> str:
    return f"<p>{'<br/>'.join(map(_magnet, release.torrents))}</p>{escape(_cited(release))}"


def _magnet(torrent: PublishedTorrent) -> str:
    """Return HTML with the magnet link of a torrent."""
    return f'<a href="{escape(torrent.magnet)}">{escape(plain(torrent.file))}</a>, {torrent.data_size} bytes'


def _cited(release: ListedRelease, before: str = "") -> str:
    return "" if release.test_doi else f"{before}doi:{release.doi}"


def _identifier(release: ListedRelease) -> str:
    return release.doi_url or f"urn:d4c:release:{release.name}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _text(parent: Xml.Element, tag: str, text: str, **attributes: str) -> None:
    Xml.SubElement(parent, tag, attributes).text = text


def _link(parent: Xml.Element, relation: str, href: str, media_type: str, tag: str = "link", **more: str) -> None:
    Xml.SubElement(parent, tag, {"rel": relation, "href": href, "type": media_type, **more})


def _xml(root: Xml.Element) -> bytes:
    Xml.indent(root)
    return Xml.tostring(root, "utf-8", xml_declaration=True) + b"\n"
