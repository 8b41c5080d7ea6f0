"""The pages of one dataset beside its collection: `versions.json` and `README.md`, in both languages.

Both list releases, newest first. The README shows how to open the newest release. The feeds belong to `feeds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from d4c_pipeline.catalogue import feeds
from d4c_pipeline.metadata.published import TONGUES, ListedRelease, PublishedMetadata, Tongue
from d4c_pipeline.metadata.records.documents import in_language, json_document, known, plain
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import catalogue_readme_address, catalogue_versions_address
from d4c_pipeline.model.parts import every_part
from d4c_pipeline.model.reasons import to_json

_SHOWN = 20  # releases in a README; `versions.json` lists all
_WORDS = {
    "en": ("Newest release", "How to open it", "Licence", "How to cite it", "Versions", "All versions", "more"),
    "fr": ("Version récente", "Comment l'ouvrir", "Licence", "Comment la citer", "Versions", "Toutes", "de plus"),
}


def documents(newest: PublishedMetadata, ordered: Sequence[ListedRelease], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the list and the README of a dataset: address in a store, bytes.

    `newest`: the release to use; `ordered`: all releases, newest first, with other facts than the torrents.
    """
    yield catalogue_versions_address(newest.dataset), versions(newest, ordered, site)
    yield catalogue_readme_address(newest.dataset), readme(newest, ordered, site)


def links(dataset: str) -> Iterator[tuple[str, str, str]]:
    """Yield the documents of a dataset for the links of its collection: address, media type, title."""
    yield catalogue_versions_address(dataset), "application/json", "Versions"
    yield catalogue_readme_address(dataset), "text/markdown", "README"
    for address, media_type, language in feeds.links(dataset):
        yield address, media_type, feeds.title(language, media_type)


def versions(newest: PublishedMetadata, ordered: Sequence[ListedRelease], site: Site) -> bytes:
    """Return the releases of a dataset as JSON."""
    own = catalogue_versions_address(newest.dataset)
    return json_document(
        {
            "dataset": newest.dataset,
            "series": newest.series,
            "title": {language: plain(in_language(newest.title, language)) for language in TONGUES},
            "versions": [
                known(
                    name=release.name,
                    vintage=str(release.vintage),
                    version=str(release.version),
                    latest=release.latest,
                    doi=release.doi,
                    test_doi=release.test_doi or None,
                    concept_doi=release.concept_doi,
                    published=f"{release.published_at:%Y-%m-%dT%H:%M:%SZ}",
                    change=release.change.bump.name.lower(),
                    change_reasons=list(release.change.reasons),
                    changes=to_json(release.change.differences),
                    rows=release.rows,
                    bytes=release.bytes,
                    item=site.href(release.item_address, own),
                )
                for release in ordered
            ],
        }
    )


def readme(newest: PublishedMetadata, ordered: Sequence[ListedRelease], site: Site) -> bytes:
    """Return the README of a dataset as Markdown."""
    lines: list[str] = []
    for language in TONGUES:
        lines += ["---", ""] if lines else []
        lines += _readme(newest, ordered, site, language)
    return "\n".join(lines).encode()


def _readme(newest: PublishedMetadata, ordered: Sequence[ListedRelease], site: Site, language: Tongue) -> Iterator[str]:
    own = catalogue_readme_address(newest.dataset)
    head, opening, licence, citing, listed, everything, more = _WORDS[language]
    data = newest.data_files
    place = site.href(data[0].address, own)
    target = place if len(data) == 1 else f"{place.rpartition('/')[0]}/{every_part(newest.name)}"
    yield from (f"# {markdown(in_language(newest.title, language))}", "")
    yield from (markdown(in_language(newest.description, language), lines=True), "")
    yield from (f"## {head}", "", f"{newest.vintage}, v{newest.version}: <{_landing(newest, own)}>", "")
    # HTTP has no globs, so the parts are listed.
    files = [site.href(file.address, own) for file in data] if "://" in target else [target]
    names = ", ".join(f"'{name}'" for name in files)
    source = names if len(files) == 1 else f"read_parquet([{names}])"
    yield from (f"## {opening}", "", "```sql", f"SELECT * FROM {source} LIMIT 10;", "```", "")  # noqa: S608 - shown
    terms = newest.licence
    title = markdown(terms.titled(language))
    yield from (f"## {licence}", "", f"[{title}]({terms.url})" if terms.url else title, "")
    yield from (f"## {citing}", "", markdown(in_language(newest.citation, language)), "")
    yield from (f"## {listed}", "", "| Vintage | Version | DOI |", "| --- | --- | --- |")
    for release in ordered[:_SHOWN]:
        item = site.href(release.item_address, own)
        doi = f"`{release.doi}`" if release.test_doi else f"<{release.doi_url}>"
        yield f"| {release.vintage} | [{release.version}]({item}) | {doi} |"
    rest = len(ordered) - _SHOWN
    added = f" ({rest} {more})" if rest > 0 else ""
    yield from ("", f"[{everything}{added}]({site.href(catalogue_versions_address(newest.dataset), own)})", "")


def _landing(newest: PublishedMetadata, document: str) -> str:
    return feeds.landing_page(newest, newest.site, document)


def markdown(text: str, *, lines: bool = False) -> str:
    """Return a plain text as Markdown with all Markdown and HTML markup in it escaped."""
    cleaned = plain(text)
    for character in "\\`*_[]<>#|":
        cleaned = cleaned.replace(character, f"\\{character}")
    return cleaned if lines else " ".join(cleaned.split())
