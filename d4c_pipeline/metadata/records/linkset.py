"""FAIR Signposting of a release as a linkset (RFC 9264): landing page, files, records, licence, authors, versions.

A server may send the same links as `Link` headers. Source: https://signposting.org/FAIR/, for versions RFC 5829
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.metadata.published import PublishedMetadata, VersionLink
from d4c_pipeline.metadata.records.documents import file_title, json_document, known, party_id
from d4c_pipeline.metadata.records.registry import RecordFormat, static_formats

_LINKSET = "linkset"


def linkset(published: PublishedMetadata) -> dict[str, Any]:
    """Return the linkset; the anchors are the landing page, each file and each record."""
    landing = {"href": published.landing_page, "type": "text/html"}
    files = [(published.url(file), file) for file in published.files]
    records = [
        (published.href(published.record_address(form.file_name)), form)
        for form in static_formats()
        if form.name != _LINKSET
    ]
    item = {"href": published.href(published.item_address), "type": "application/geo+json", "title": "STAC item"}
    authors = dict.fromkeys(filter(None, map(party_id, published.creators)))
    context = known(
        anchor=published.landing_page,
        **{
            "cite-as": [{"href": published.doi_url}] if published.doi_url else [],
            "type": [{"href": "https://schema.org/Dataset"}, {"href": "https://schema.org/AboutPage"}],
            "author": [{"href": author} for author in authors],
            "license": [{"href": published.licence.url}] if published.licence.url else [],
            "item": [
                {
                    "href": url,
                    "type": file.media_type,
                    "title": file_title(file, "en"),
                    "title*": [{"value": file_title(file, "fr"), "language": "fr"}],
                }
                for url, file in files
            ],
            "describedby": [
                *(
                    known(href=url, type=form.media_type, title=form.title, profile=form.profile and [form.profile])
                    for url, form in records
                ),
                item,
            ],
            "predecessor-version": _version(published, published.line.previous),
            # Stable addresses: a newer version changes no record of an older one.
            "latest-version": [
                {
                    "href": published.href(published.latest_address),
                    "type": "application/geo+json",
                    "title": "The version to use",
                }
            ],
            "version-history": [
                {"href": published.href(published.versions_address), "type": "application/json", "title": "Versions"}
            ],
        },
    )
    return {
        "linkset": [
            context,
            *({"anchor": url, "collection": [landing]} for url, _ in files),
            *({"anchor": url, "describes": [landing]} for url, _ in records),
        ]
    }


def _version(published: PublishedMetadata, other: VersionLink | None) -> list[dict[str, str]]:
    if other is None:
        return []
    if other.doi is not None:
        return [{"href": f"https://doi.org/{other.doi}", "title": other.name}]
    return [{"href": published.href(other.item_address), "type": "application/geo+json", "title": other.name}]


def _render(published: PublishedMetadata) -> bytes:
    return json_document(linkset(published))


FORMATS = (
    RecordFormat(
        name=_LINKSET,
        media_type="application/linkset+json",
        suffix=".json",
        profile="https://signposting.org/FAIR/",
        title="FAIR Signposting",
        render=_render,
    ),
)
