"""CITATION.cff 1.2.0 of a release, the citation that forges and archives of code show. It has one language: English.

Source: https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema-guide.md
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.citation_files import one_line
from d4c_pipeline.metadata.records.documents import known, plain
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party

_VERSION = "1.2.0"
_DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")  # the schema's pattern
_ADDRESS = re.compile(r"https?://.+")


def cff(published: PublishedMetadata) -> dict[str, Any]:
    """Return the content of the file."""
    terms = published.licence
    doi = published.doi if not published.test_doi and _DOI.fullmatch(published.doi) else None
    concept = None if published.test_doi else published.concept_doi
    identifiers = [
        *([{"type": "doi", "value": concept, "description": "All versions"}] if concept and concept != doi else []),
        {"type": "other", "value": published.identifier, "description": "Identifier of the release"},
    ]
    return known(
        **{
            "cff-version": _VERSION,
            "message": "Please cite this data set as below.",
            "type": "dataset",
            "title": one_line(published.record.title.en) or published.name,
            "version": str(published.version),
            "date-released": published.published_at.date().isoformat(),
            "authors": [_author(party) for party in published.creators],
            "doi": doi,
            "identifiers": identifiers,
            "url": _address(published.landing_page),
            "license": terms.spdx,
            "license-url": None if terms.spdx else _address(terms.url),
            "keywords": list(dict.fromkeys(text for word in published.keywords.en if (text := one_line(word)))),
            "abstract": plain(published.description.en),
        }
    )


def _author(party: Party) -> dict[str, str]:
    name = one_line(party.name)
    if not party.is_person:
        return known(name=name, website=party.url or (party.ror and f"https://ror.org/{party.ror.rpartition('/')[2]}"))
    family, comma, given = name.partition(",")
    named = {"family-names": family.strip(), "given-names": given.strip()} if comma else {"name": name}
    if not comma:  # a name that is not written "Family, Given" stays one name
        return known(**named, website=party.url, orcid=party.orcid and f"https://orcid.org/{party.orcid}")
    return known(
        **named,
        affiliation=party.affiliation and one_line(party.affiliation),
        orcid=party.orcid and f"https://orcid.org/{party.orcid}",
        website=party.url,
    )


def _address(text: str | None) -> str | None:
    return text if text and _ADDRESS.fullmatch(text) else None


def _render(published: PublishedMetadata) -> bytes:
    # LibYAML's emitter: PyYAML's own takes half of the time of all records.
    text: str = yaml.dump(cff(published), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=110)
    return text.encode()


FORMATS = (
    RecordFormat(
        name="cff",
        media_type="application/yaml",
        suffix=".cff",
        stem="CITATION",
        profile="https://citation-file-format.github.io/",
        title="CITATION.cff",
        render=_render,
    ),
)
