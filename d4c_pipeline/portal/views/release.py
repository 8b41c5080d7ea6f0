"""The page of a release, the same for a dataset (its newest release) and for a permanent address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from d4c_pipeline.ledger.judgements import CheckResult
from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.metadata.published import ListedRelease, PublishedFile, Tongue
from d4c_pipeline.metadata.records.cff import FORMATS as CFF
from d4c_pipeline.metadata.records.citation_files import bibtex, ris
from d4c_pipeline.metadata.records.documents import file_title, plain, shortened
from d4c_pipeline.metadata.records.linkset import FORMATS as LINKSETS
from d4c_pipeline.metadata.records.schema_org import dataset_node
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.differences import NothingPublished
from d4c_pipeline.model.release import ArtifactRole, NativeFile
from d4c_pipeline.portal import addresses
from d4c_pipeline.portal.facts import CopyFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.views import columns, explore
from d4c_pipeline.portal.views.snippets import Snippet, snippets
from d4c_pipeline.portal.words import Words

SUMMARY = 300  # characters in the description of a search engine
_LONGEST_LEAD = 900
_MOST_COLUMNS = 20  # named in the changes of a version; the README names all
_SUFFIXES = {".gpkg": "gpkg", ".fgb": "fgb", ".csv.gz": "csv", ".csv": "csv", ".pmtiles": "pmtiles"}
_DOWNLOADS = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)


@dataclass(frozen=True)
class Download:
    """A file by purpose. `more`: label and address of the same bytes elsewhere, of its torrent and magnet."""

    format: str
    purpose: str
    part: str
    href: str
    size: str
    sha256: str
    more: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VersionRow:
    """A version of the dataset with what changed; `counted`: a heading and lines on the changed rows."""

    version: str
    vintage: str
    path: str
    change: str
    reasons: tuple[str, ...]
    counted: tuple[str, tuple[str, ...]] | None
    date: str
    moment: str
    doi: str
    doi_url: str | None
    rows: str
    size: str
    current: bool
    withdrawn: str | None


@dataclass(frozen=True)
class Citation:
    """A form of the citation; prose wraps, code does not."""

    id: str
    name: str
    text: str
    prose: bool


@dataclass(frozen=True)
class ReleasePage:
    """All that the page shows, in one language."""

    title: str
    title_language: str
    lead: str
    lead_language: str
    summary: str
    version: str
    vintage: str
    rows: str
    columns_count: str
    size: str
    geometry: str
    provider: str
    published: str
    published_at: str
    licence: str
    licence_url: str | None
    doi: str
    doi_url: str | None
    concept_doi: str | None
    concept_doi_url: str | None
    latest: bool
    newer: tuple[str, str] | None
    withdrawn: str | None
    data: Download
    downloads: tuple[Download, ...]
    record_url: str | None
    checks_line: str
    checks_good: bool
    checks: tuple[tuple[str, str, str], ...]
    copies_line: str
    copies_good: bool
    copies: tuple[tuple[str, str, str, str], ...]
    snippets: tuple[Snippet, ...]
    columns: tuple[columns.ColumnRow, ...]
    versions: tuple[VersionRow, ...]
    chain: tuple[tuple[str, tuple[str, ...]], ...]
    citations: tuple[Citation, ...]
    credit: str | None
    files: tuple[tuple[str, str, str, str, str], ...]
    more: tuple[tuple[str, str], ...]
    looked: str | None
    picture: str | None
    json_ld: Mapping[str, Any]
    links: tuple[tuple[str, str, str], ...]
    queries: tuple[str, ...]
    script: Mapping[str, Any]
    no_map: str | None


def records(facts: ReleaseFacts) -> tuple[tuple[str, str], ...]:
    """Return the citations of one form in both languages: key of the name in the words, text."""
    published = facts.published
    return (
        ("bibtex", bibtex(published).rstrip()),
        ("ris", ris(published).replace("\r\n", "\n").rstrip("\n")),
        ("cff", CFF[0].render(published).decode().rstrip()),
    )


def release_page(
    facts: ReleaseFacts, site: SiteFacts, words: Words, known: tuple[tuple[str, str], ...] | None = None
) -> ReleasePage:
    """Return the page of a release in the language of `words`. `known`: its `records`, computed here by default."""
    published, language = facts.published, words.language
    title, text = headline(facts, words)
    downloads = tuple(
        _download(facts, file, words) for file in sorted(published.files, key=_order) if file.role in _DOWNLOADS
    )
    rows = columns.rows(facts, words)
    provider = plain((published.providers or published.creators)[0].named(language))
    # A withdrawn release refers to the release that stands, which may be an older version.
    newest = published.line.newest
    other = newest if newest is not None and newest.name != published.name else None
    successor = other if published.line.superseded_by or published.withdrawn else None
    newer = successor and (
        words["superseded_link"].format(version=f"{successor.version} ({successor.vintage})"),
        site.root + addresses.release(language, successor.dataset, successor.vintage, successor.version),
    )
    withdrawn = published.withdrawn and words["withdrawn_on"].format(
        date=words.date(published.withdrawn.at), reason=plain(published.withdrawn.reason)
    )
    good = [check for check in facts.checks if check.verdict != "failure"]
    kept = [copy for copy in facts.copies if copy.intact]
    dates = [copy.verified_at for copy in kept if copy.verified_at is not None]
    places = words.count("places", len(kept))
    has_map, no_map = explore.mapped(facts, words)
    return ReleasePage(
        title=title,
        title_language=_language(published.title, words),
        lead=shortened(text, _LONGEST_LEAD),
        lead_language=_language(published.description, words),
        summary=summary(text),
        version=str(published.version),
        vintage=str(published.vintage),
        rows=words.number(published.rows),
        columns_count=words.number(len(published.columns)),
        size=words.size(published.bytes),
        geometry=_geometry(facts, words),
        provider=provider,
        published=words.date(published.published_at),
        published_at=f"{published.published_at:%Y-%m-%dT%H:%M:%SZ}",
        licence=published.licence.spdx or plain(published.licence.titled(language)),
        licence_url=addresses.link(published.licence.url),
        doi=published.doi,
        doi_url=published.doi_url,
        concept_doi=published.concept_doi,
        concept_doi_url=published.concept_doi_url,
        latest=published.latest,
        newer=newer,
        withdrawn=withdrawn,
        data=downloads[0],
        downloads=downloads,
        record_url=addresses.link(published.archive_url),
        checks_line=_checks_line(facts, good, words),
        checks_good=bool(facts.checks) and len(good) == len(facts.checks),
        checks=tuple(_check(check, words) for check in facts.checks),
        copies_line=words["kept"].format(places=places, date=words.date(min(dates)))
        if dates
        else words["kept_never"].format(places=places),
        copies_good=bool(kept) and len(kept) == len(facts.copies),
        copies=tuple(_copy(copy, words) for copy in facts.copies),
        snippets=snippets(facts),
        columns=rows,
        versions=tuple(version_row(each, site, words, current=each.name == published.name) for each in facts.versions),
        chain=tuple(_chain(facts, provider, places, words)),
        citations=tuple(_citations(facts, words, records(facts) if known is None else known)),
        credit=published.attribution and plain(getattr(published.attribution, language)),
        files=tuple(_file(facts, file, words) for file in published.files),
        more=tuple(_more(facts, site, provider, words)),
        looked=facts.looked_at and words["more"]["looked"].format(date=words.date(facts.looked_at)),
        picture=facts.picture and f"{site.root}{addresses.PICTURES}/{facts.picture}.webp",
        json_ld={"@context": "https://schema.org/", **dataset_node(published, language)},
        links=tuple(_links(facts)),
        queries=tuple(explore.queries(facts)),
        script=explore.script(facts, words, has_map=has_map),
        no_map=no_map,
    )


def headline(facts: ReleaseFacts, words: Words) -> tuple[str, str]:
    """Return title and description in the language, else in the other; a title always has text."""
    published = facts.published
    title, text = (
        plain(getattr(each, words.language)) or plain(getattr(each, words.other))
        for each in (published.title, published.description)
    )
    return title or published.name, text


def _language(text: Bilingual, words: Words) -> Tongue:
    """Return the language in which `headline` shows a text, so that screen readers pronounce it right."""
    return words.language if plain(getattr(text, words.language)) else words.other


def summary(text: str) -> str:
    """Return the description for search engines, on one line."""
    return " ".join(shortened(text, SUMMARY).split())


def _order(file: PublishedFile) -> tuple[int, str]:
    return _DOWNLOADS.index(file.role) if file.role in _DOWNLOADS else len(_DOWNLOADS), file.name


def format_of(file: PublishedFile, *, geometry: bool) -> str:
    """Return the key of a file's format in the words: `geoparquet`, `gpkg`, ..."""
    if file.role is ArtifactRole.DATA:
        return "geoparquet" if geometry else "parquet"
    return next((name for suffix, name in _SUFFIXES.items() if file.name.endswith(suffix)), "other")


def _download(facts: ReleaseFacts, file: PublishedFile, words: Words) -> Download:
    published = facts.published
    form = format_of(file, geometry=bool(published.geometry_types))
    purpose = {"geoparquet": "parquet", "parquet": "table"}.get(form, form)
    more: list[tuple[str, str]] = []
    if file.torrent is not None:
        more.append((words["get"]["torrent"], published.href(file.torrent.address)))
        if magnet := addresses.link(file.torrent.magnet):
            more.append((words["get"]["magnet"], magnet))
    if archive := addresses.link(file.archive):
        more.append((words["get"]["archive"], archive))
    mirrors = filter(None, map(addresses.link, file.mirrors))
    more += [(words["get"]["mirror"].format(host=urlsplit(address).netloc), address) for address in mirrors]
    return Download(
        format=words["formats"].get(form, file.name.rpartition(".")[2].upper()),
        purpose=words["purposes"][purpose],
        part=file.part,
        href=published.url(file),
        size=words.size(file.size),
        sha256=file.sha256,
        more=tuple(more),
    )


def _geometry(facts: ReleaseFacts, words: Words) -> str:
    kinds = facts.geometries or dict.fromkeys(facts.published.geometry_types, 1)
    names = [words["kinds"].get(kind.removesuffix(" Z"), kind) for kind, count in kinds.items() if count]
    return ", ".join(dict.fromkeys(names)) or words["no_geometry"]


def _checks_line(facts: ReleaseFacts, good: list[CheckResult], words: Words) -> str:
    if not facts.checks:
        return words["no_checks"]
    wrong = len(facts.checks) - len(good)
    return words.plural(words["checks_failed"], wrong) if wrong else words.count("checks", len(good))


def _check(check: CheckResult, words: Words) -> tuple[str, str, str]:
    actual = check.detail.get("actual", "")
    # A failed check of a published release was overridden by a reviewer.
    state = words["provenance"][check.verdict]
    return words.check(check.check), state, shortened(str(actual), 300)


def _copy(copy: CopyFacts, words: Words) -> tuple[str, str, str, str]:
    texts = words["provenance"]
    seen = words.date(copy.verified_at) if copy.verified_at else texts["never"]
    return copy.place, texts["kinds"][copy.kind], seen, texts["intact" if copy.intact else "damaged"]


def version_row(release: ListedRelease, site: SiteFacts, words: Words, *, current: bool) -> VersionRow:
    """Return a version as a row of a list."""
    bump = release.change.bump.name.lower()
    first = NothingPublished() in release.change.differences
    told = None if release.counts is None else in_words(release.counts, words.language)
    return VersionRow(
        version=str(release.version),
        vintage=str(release.vintage),
        path=site.root + addresses.release(words.language, release.dataset, release.vintage, release.version),
        change="none" if first else bump,
        reasons=tuple(plain(words.reason(reason)) for reason in release.change.differences),
        counted=told and (told.heading, told.lines(plain, most=_MOST_COLUMNS)),
        date=words.date(release.published_at),
        moment=f"{release.published_at:%Y-%m-%dT%H:%M:%SZ}",
        doi=release.doi,
        doi_url=release.doi_url,
        rows=words.number(release.rows),
        size=words.size(release.bytes),
        current=current,
        withdrawn=release.withdrawn and plain(release.withdrawn.reason),
    )


def _chain(facts: ReleaseFacts, provider: str, places: str, words: Words) -> Iterator[tuple[str, tuple[str, ...]]]:
    published, texts = facts.published, words["provenance"]
    host = urlsplit(published.sources[0]).netloc if published.sources else ""
    yield texts["source"], tuple(filter(None, (provider, host, str(published.vintage))))
    natives: tuple[NativeFile, ...] = facts.natives
    size = words.size(sum(native.size for native in natives)) if natives else ""
    digest = f"sha256 {natives[0].sha256[:12]}…" if natives else ""
    yield texts["raw"], tuple(filter(None, (words.count("files", len(natives)), size, digest)))
    code = texts["code"].format(commit=facts.commit[:9]) if facts.commit else ""
    tools = [
        f"{name} {facts.libraries[key]}"
        for name, key in (("DuckDB", "duckdb"), ("GDAL", "gdal"))
        if key in facts.libraries
    ]
    yield texts["processed"], tuple(filter(None, (code, ", ".join(tools))))
    yield texts["checked"], (_checks_line(facts, [each for each in facts.checks if each.verdict != "failure"], words),)
    yield texts["released"], (f"v{published.version}", words.date(published.published_at))
    yield texts["kept"], (places,)


def _citations(facts: ReleaseFacts, words: Words, known: tuple[tuple[str, str], ...]) -> Iterator[Citation]:
    published, texts = facts.published, words["citations"]
    yield Citation("apa", texts["apa"], plain(getattr(published.citation, words.language)), prose=True)
    joined = "; ".join(plain(party.name) for party in published.creators)
    yield Citation("text", texts["text"], f"({joined}, {published.planned_at.year}, v{published.version})", prose=True)
    for name, text in known:
        yield Citation(name, texts[name], text, prose=False)


def _file(facts: ReleaseFacts, file: PublishedFile, words: Words) -> tuple[str, str, str, str, str]:
    return file.name, file_title(file, words.language), facts.published.url(file), words.size(file.size), file.sha256


def _more(facts: ReleaseFacts, site: SiteFacts, provider: str, words: Words) -> Iterator[tuple[str, str]]:
    texts, listed = words["more"], site.root + addresses.datasets(words.language)
    yield texts["provider"].format(name=provider), f"{listed}?{urlencode({'provider': provider})}"
    region = words["regions"].get(facts.region, facts.region)
    yield texts["region"], f"{listed}?{urlencode({'region': region})}"
    if homepage := addresses.link(facts.published.homepage):
        yield texts["homepage"], homepage
    contact = site.problems or site.contact
    if contact and "@" in contact and "://" not in contact:
        subject = texts["report_subject"].format(name=facts.published.name)
        address = contact.removeprefix("mailto:")
        yield (
            texts["report"],
            f"mailto:{quote(address, safe='@.+-_')}?{urlencode({'subject': subject}, quote_via=quote)}",
        )
    elif address := addresses.link(contact):
        yield texts["report"], address.replace("{release}", quote(facts.published.name))


def _links(facts: ReleaseFacts) -> Iterator[tuple[str, str, str]]:
    """Relation, address and media type (may be empty) of the page's typed links. Source: https://signposting.org"""
    published = facts.published
    if published.doi_url:
        yield "cite-as", published.doi_url, ""
    yield "describedby", published.href(published.item_address), "application/geo+json"
    yield "linkset", published.href(published.record_address(LINKSETS[0].file_name)), "application/linkset+json"
    for file in published.files:
        if file.role in _DOWNLOADS:
            yield "item", published.url(file), file.media_type
    if licence := addresses.link(published.licence.url):
        yield "license", licence, ""
