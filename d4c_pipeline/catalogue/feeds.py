"""Feeds of releases and of their torrents: Atom (RFC 4287) and JSON Feed 1.1, per language, for all and for a dataset.

A feed has its newest 100 releases; the feeds of a dataset begin with its announced breaking changes. Atom has archive
pages (RFC 5005) of 50 releases in the order of publication: a page is written once, after it is full and before the
feed loses its first release. Entries have the torrents as enclosures. For torrent clients RSS has an item per torrent;
this feed and another in Atom have magnet links. Services make feeds of some releases with the same entries; which ones
belongs to `services.protocols.feeds`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape
from typing import Any, Literal
from xml.etree import ElementTree as Xml

from d4c_pipeline.catalogue.dcat_pages import begins_page
from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.metadata.published import TONGUES, ListedRelease, PublishedTorrent, Tongue
from d4c_pipeline.metadata.records.documents import json_document, plain
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import FEED_ATOM, FEED_RSS
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

PAGE = 100
"""Releases in a feed."""
ARCHIVED = 50
"""Releases in a page of an archive: half a feed, so that a full page may be written by any of the next 50 releases."""
Kind = Literal["releases", "torrents"]
ATOM, JSON_FEED, _RSS = "application/atom+xml", "application/feed+json", "application/rss+xml"
_ATOM = "http://www.w3.org/2005/Atom"
_HISTORY = "http://purl.org/syndication/history/1.0"
_TORRENT_TYPE = "application/x-bittorrent"
_TITLES = {
    ("releases", "en"): "Releases of {}",
    ("releases", "fr"): "Versions publiées de {}",
    ("torrents", "en"): "Torrents of {}",
    ("torrents", "fr"): "Torrents de {}",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUMPS = {"none": "première version", "patch": "correctif", "minor": "mineur", "major": "majeur"}


@dataclass(frozen=True)
class Feed:
    """A feed: its kind, language and dataset (None for all), which determine its addresses; its title."""

    kind: Kind
    language: Tongue
    title: str = ""
    dataset: str | None = None

    def address(self, suffix: str, page: int | None = None) -> str:
        """Return the address of the feed, or of a page of its archive, in a store."""
        if self.kind == "torrents" and page is None:
            return FEED_ATOM
        # The torrents are enclosures of the releases: both feeds have one archive.
        name = f"releases.{self.language}{'' if page is None else f'.{page}'}{suffix}"
        return f"catalogue/{self.dataset}/{name}" if self.dataset else f"catalogue/{name}"

    @property
    def identifier(self) -> str:
        """The id of the feed, which stays when the store moves. RFC 5005: the pages of an archive are one feed."""
        return ":".join(filter(None, ("urn:d4c:feed", self.kind, self.language, self.dataset)))

    def url(self, site: Site, own: str) -> str:
        """Return the link of a feed or page at the address `own` to itself."""
        return site.href(own, own)


@dataclass(frozen=True)
class NarrowedFeed(Feed):
    """A feed of some releases that a service makes at a request. `at`: its URL; `query`: what it is narrowed to."""

    at: str = ""
    query: str = ""

    def address(self, suffix: str, page: int | None = None) -> str:
        """Return the address of the feed at the root of the services; it has no archive."""
        return f"feeds/releases.{self.language}{suffix}"

    @property
    def identifier(self) -> str:
        """The id of the feed: equal queries are one feed."""
        return f"{super().identifier}:{hashlib.sha256(self.query.encode()).hexdigest()[:32]}"

    def url(self, site: Site, own: str) -> str:
        """Return the URL of the request."""
        return self.at


@dataclass(frozen=True)
class Coming:
    """A planned release that breaks what readers use. `due`: the day from which it is published.

    `breaks`: the breaking changes in words, by language. `announced_at`, `updated_at`: its first and newest
    announcement.
    """

    name: str
    vintage: Vintage
    version: Version
    due: date
    breaks: Mapping[Tongue, Sequence[str]]
    announced_at: datetime
    updated_at: datetime

    @property
    def identifier(self) -> str:
        """The id of the entry, which stays when the build or the date changes; the release has another."""
        return f"urn:d4c:notice:{self.name}"

    def titled(self, subject: Bilingual, language: Tongue) -> str:
        """Return the title of the entry; `subject` is the title of the dataset."""
        before = "Breaking change on" if language == "en" else "Changement incompatible le"
        colon = ": " if language == "en" else " : "
        return f"{before} {self.due}{colon}{getattr(subject, language)}, {self.vintage}, v{self.version}"

    def summary(self, language: Tongue) -> str:
        """Return what breaks, and the date."""
        breaks = "; ".join(map(plain, self.breaks[language]))
        if language == "fr":
            return f"Version {self.version}, publiée à partir du {self.due} (UTC). Ce qui change : {breaks}."
        return f"Version {self.version}, to be published from {self.due} (UTC). What breaks: {breaks}."


def narrowed(feed: NarrowedFeed, entries: Sequence[ListedRelease], site: Site, suffix: str) -> bytes:
    """Return a feed of `entries`, the newest last. `suffix`: `.atom` or `.json`."""
    return _atom(feed, entries, site, None, None) if suffix == ".atom" else _json(feed, entries, site)


def links(dataset: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield address, media type and language of the feeds of releases, of all datasets or of one."""
    for language in TONGUES:
        for suffix, media_type in ((".atom", ATOM), (".json", JSON_FEED)):
            yield Feed("releases", language, dataset=dataset).address(suffix), media_type, language


def title(language: str, media_type: str) -> str:
    """Return the title of a link to the feed of releases in a language and a format, which readers show alone."""
    words = "Flux des versions publiées" if language == "fr" else "Feed of releases"
    return f"{words}, {'Atom' if media_type == ATOM else 'JSON Feed'}"


def archived(total: int, free: int) -> dict[Tongue, int]:
    """Return the number of archive pages of a feed of `total` releases, by language.

    `free`: among the releases since the last page was full, that which filled it included, those that may write an
    archive page. Each writes the page of one language, so that no release writes two pages of an archive. Only the last
    full page waits for them: the next releases of a page take its first release out of the feed.
    """
    full = total // ARCHIVED
    return {language: max(full - (free <= place), 0) for place, language in enumerate(TONGUES)}


def since_full(total: int) -> int:
    """Return the place of the release that filled the last full page of an archive; the last place + 1 without any."""
    return total // ARCHIVED * ARCHIVED - 1 if total >= ARCHIVED else total


def may_archive(dataset: str) -> bool:
    """Return whether a release of this dataset may write an archive page of the feeds of all datasets.

    The first release of a dataset that begins a page of DCAT or of sitemaps writes enough documents.
    """
    return begins_page(dataset) is None


def documents(
    released: Iterable[ListedRelease], site: Site, *, dataset: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the feeds of `released` with their archives: address in a store, bytes. Without a release there are none.

    `dataset`: the releases belong to this dataset.
    """
    ordered = sorted(released, key=lambda release: (release.published_at, release.name))
    free = sum(dataset is not None or may_archive(each.dataset) for each in ordered[since_full(len(ordered)) :])
    pages = archived(len(ordered), free)
    yield from current(ordered[-PAGE:], pages, site, dataset=dataset)
    if dataset is None:
        yield from torrents(ordered[-PAGE:], pages, site)
    for page in range(max(pages.values())):
        entries = ordered[page * ARCHIVED : (page + 1) * ARCHIVED]
        yield from archive_page(page, entries, pages, site, dataset=dataset)


def current(
    newest: Sequence[ListedRelease],
    pages: Mapping[Tongue, int],
    site: Site,
    *,
    dataset: str | None = None,
    planned: Sequence[Coming] = (),
) -> Iterator[tuple[str, bytes]]:
    """Yield the feeds of the `newest` 100 releases, the newest last. `pages`: those of the archive, as `archived`.

    `planned`: the announced releases of the dataset.
    """
    for feed in _feeds("releases", newest, site, dataset) if newest else ():
        yield feed.address(".atom"), _atom(feed, newest, site, None, _last(pages[feed.language]), planned)
        yield feed.address(".json"), _json(feed, newest, site, planned)


def torrents(newest: Sequence[ListedRelease], pages: Mapping[Tongue, int], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the feeds for torrent clients, of the `newest` 100 releases, the newest last. `pages`: as `current`.

    Torrent clients resolve no relative addresses: `site` has an address, at least that of the embedded server.
    """
    if newest:
        feed = _feeds("torrents", newest, site, None)[0]
        yield feed.address(".atom"), _atom(feed, newest, site, None, _last(pages[feed.language]))
        yield FEED_RSS, _rss(newest, site)


def _last(pages: int) -> int | None:
    """Return the newest of so many archive pages."""
    return pages - 1 if pages else None


def archive_page(
    page: int,
    entries: Sequence[ListedRelease],
    pages: Mapping[Tongue, int],
    site: Site,
    *,
    dataset: str | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield a page of the archive, which has the releases from place `50 * page` on, the newest last.

    `pages`: as `archived`; a language has no page yet that is not among them.

    A page depends on its own releases alone, so that it never changes. A release that the catalogue leaves out keeps
    its place without an entry.
    """
    for feed in _feeds("releases", entries, site, dataset):
        if page < pages[feed.language]:
            yield feed.address(".atom", page), _atom(feed, entries, site, page, page - 1 if page else None)


def _feeds(kind: Kind, entries: Sequence[ListedRelease], site: Site, dataset: str | None) -> list[Feed]:
    feeds: list[Feed] = []
    for language in TONGUES:
        subject = getattr(entries[-1].title, language) if dataset and entries else site.publisher
        feeds.append(Feed(kind, language, _TITLES[kind, language].format(plain(subject)), dataset))
    return feeds


def _atom(
    feed: Feed,
    entries: Sequence[ListedRelease],
    site: Site,
    page: int | None,
    older: int | None,
    planned: Sequence[Coming] = (),
) -> bytes:
    """Return a feed, or the `page` of its archive. `older`: the page before it."""
    own = feed.address(".atom", page)
    root = Xml.Element("feed", {"xmlns": _ATOM, "xmlns:fh": _HISTORY, "xml:lang": feed.language})
    _text(root, "title", feed.title)
    # Pages of an archive have no link to the next page, which exists later.
    _text(root, "id", feed.identifier)
    _text(root, "updated", _time(max((each.updated_at for each in (*entries, *planned)), default=_EPOCH)))
    _text(Xml.SubElement(root, "author"), "name", plain(site.publisher))
    _link(root, "self", feed.url(site, own), ATOM)
    if page is not None:
        Xml.SubElement(root, "fh:archive")
        _link(root, "current", site.href(feed.address(".atom"), own), ATOM)
    if older is not None:
        _link(root, "prev-archive", site.href(feed.address(".atom", older), own), ATOM)
    for coming in planned:
        entry = Xml.SubElement(root, "entry")
        _text(entry, "title", plain(coming.titled(entries[-1].title, feed.language)))
        _text(entry, "id", coming.identifier)
        _text(entry, "published", _time(coming.announced_at))
        _text(entry, "updated", _time(coming.updated_at))
        # A planned release has no page: the page of the release that readers have now.
        _link(entry, "alternate", landing_page(entries[-1], site, own), "text/html")
        _text(entry, "summary", coming.summary(feed.language), type="text")
    for release in reversed(entries):
        if feed.kind == "torrents" and not release.torrents:
            continue
        entry = Xml.SubElement(root, "entry")
        _text(entry, "title", plain(release.titled(feed.language)))
        _text(entry, "id", _identifier(release))
        _text(entry, "published", _time(release.published_at))
        _text(entry, "updated", _time(release.updated_at))
        _link(entry, "alternate", landing_page(release, site, own), "text/html")
        _link(entry, "related", site.href(release.item_address, own), "application/geo+json")
        for torrent in release.torrents:
            size = {} if torrent.size is None else {"length": str(torrent.size)}
            _link(entry, "enclosure", site.href(torrent.address, own), _TORRENT_TYPE, title=torrent.file, **size)
        if feed.kind == "torrents":
            _text(entry, "content", _magnets(release), type="html")
        else:
            _text(entry, "summary", _summary(release, feed.language), type="text")
    return _xml(root)


def _json(feed: Feed, entries: Sequence[ListedRelease], site: Site, planned: Sequence[Coming] = ()) -> bytes:
    own = feed.address(".json")
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "language": feed.language,
        "feed_url": feed.url(site, own),
        "authors": [{"name": plain(site.publisher)}],
        "items": [
            {
                "id": coming.identifier,
                "url": landing_page(entries[-1], site, own),
                "title": plain(coming.titled(entries[-1].title, feed.language)),
                "date_published": _time(coming.announced_at),
                "date_modified": _time(coming.updated_at),
                "language": feed.language,
                "content_text": coming.summary(feed.language),
            }
            for coming in planned
        ]
        + [
            {
                "id": _identifier(release),
                "url": landing_page(release, site, own),
                "external_url": site.href(release.item_address, own),
                "title": plain(release.titled(feed.language)),
                "date_published": _time(release.published_at),
                **({"date_modified": _time(release.updated_at)} if release.withdrawn else {}),
                "language": feed.language,
                "content_text": _summary(release, feed.language),
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
            for release in reversed(entries)
        ],
    }
    return json_document(document)


def _rss(entries: Sequence[ListedRelease], site: Site) -> bytes:
    """Return the torrents as RSS 2.0, one item for each: torrent clients read one enclosure per item."""
    root = Xml.Element("rss", {"version": "2.0", "xmlns:atom": _ATOM})
    channel = Xml.SubElement(root, "channel")
    _text(channel, "title", _TITLES["torrents", "en"].format(plain(site.publisher)))
    _text(channel, "link", site.href(FEED_RSS, FEED_RSS))
    _text(channel, "description", "The torrents of the newest releases.")
    _text(channel, "language", "en")
    _link(channel, "self", site.href(FEED_RSS, FEED_RSS), _RSS, tag="atom:link")
    _text(channel, "lastBuildDate", f"{entries[-1].published_at:%a, %d %b %Y %H:%M:%S +0000}")
    for release in reversed(entries):
        for torrent in release.torrents:
            item = Xml.SubElement(channel, "item")
            part = torrent.file.removeprefix(release.name).partition(".parquet")[0].strip("_")
            _text(item, "title", f"{plain(release.titled('en'))}{f', {part}' if part else ''}")
            _text(item, "link", landing_page(release, site, FEED_RSS))
            _text(item, "guid", f"urn:btih:{torrent.info_hash}", isPermaLink="false")
            _text(item, "pubDate", f"{release.published_at:%a, %d %b %Y %H:%M:%S +0000}")
            note = f"<p>{escape(plain(release.withdrawn.sentence('en')))}</p>" if release.withdrawn else ""
            _text(item, "description", f"{note}{_magnet(torrent)}{_cited(release)}")
            url, size = site.href(torrent.address, FEED_RSS), str(torrent.size or 0)
            Xml.SubElement(item, "enclosure", {"url": url, "length": size, "type": _TORRENT_TYPE})
    return _xml(root)


def landing_page(release: ListedRelease, site: Site, document: str) -> str:
    """Return the page for readers: the DOI, else the portal's page, the archive's record or the STAC item."""
    page = site.page(release.dataset, release.vintage, release.version)
    return release.doi_url or page or release.archive_url or site.href(release.item_address, document)


def _summary(release: ListedRelease, language: Tongue) -> str:
    bump = release.change.bump.name.lower()
    note = f"{plain(release.withdrawn.sentence(language))}. " if release.withdrawn else ""
    counted = "" if release.counts is None else f" {plain(in_words(release.counts, language).sentence())}"
    if language == "fr":
        return (
            f"{note}{release.rows} enregistrements, {release.bytes} octets. Changement : {_BUMPS[bump]}."
            f"{counted}{_cited(release, ' ')}"
        )
    reasons = f" ({'; '.join(map(plain, release.change.reasons))})" if release.change.reasons else ""
    first = "first version" if bump == "none" else bump
    return f"{note}{release.rows} rows, {release.bytes} bytes. Change: {first}{reasons}.{counted}{_cited(release, ' ')}"


def _magnets(release: ListedRelease) -> str:
    note = f"<p>{escape(plain(release.withdrawn.sentence('en')))}</p>" if release.withdrawn else ""
    return f"{note}<p>{'<br/>'.join(map(_magnet, release.torrents))}</p>{escape(_cited(release))}"


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
