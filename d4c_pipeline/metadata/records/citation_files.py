"""Citations that reference managers import: BibTeX, RIS and CSL JSON.

BibTeX and CSL have one language, English; RIS has a field for the translated title. A line end becomes a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import json_document, known, plain
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.languages import bcp47

# BibTeX counts every brace, escaped or not, so that a brace of a text is a command.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def one_line(text: str) -> str:
    """Return a plain text with every run of white space as one space."""
    return " ".join(plain(text).split())


def _title(published: PublishedMetadata) -> str:
    return one_line(published.record.title.en)


def bibtex(published: PublishedMetadata) -> str:
    """Return one `@misc` entry, which BibTeX and BibLaTeX both know; its key is the release name."""
    day = published.published_at
    authors = " and ".join(
        _latex(one_line(party.name)) if _is_split(party) else f"{{{_latex(one_line(party.name))}}}"
        for party in published.creators
    )
    fields = known(
        author=authors,
        title=f"{{{_latex(_title(published))}}}",
        year=str(day.year),
        version=str(published.version),
        publisher=_latex(one_line(published.site.publisher)),
        howpublished="Data set",
        doi=None if published.test_doi else _verbatim(published.doi),
        url=_verbatim(published.landing_page),
        language=", ".join(bcp47(code) for code in published.languages),
        keywords=", ".join(_latex(one_line(word).replace(",", ";")) for word in published.keywords.en),
        copyright=_latex(one_line(published.licence.title)),
        abstract=_latex(one_line(published.description.en)),
    )
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    lines.insert(3, f"  month = {_MONTHS[day.month - 1]},")
    key = re.sub(r"[^A-Za-z0-9._:-]+", "-", published.name)
    return "\n".join([f"@misc{{{key},", *lines, "}"]) + "\n"


def _is_split(party: Party) -> bool:
    """Return whether BibTeX may split the name into family and given name: `Family, Given`, without another comma."""
    return party.is_person and party.name.count(",") == 1 and " and " not in party.name


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _verbatim(address: str) -> str:
    """Return an address, which readers take as written, without the characters that end a field."""
    return address.replace("\\", "%5C").replace("{", "%7B").replace("}", "%7D")


def ris(published: PublishedMetadata) -> str:
    """Return one reference of type DATA, with CRLF as the format wants."""
    return "".join(f"{tag}  - {value}\r\n" for tag, value in _ris_lines(published)) + "ER  - \r\n"


def _ris_lines(published: PublishedMetadata) -> Iterator[tuple[str, str]]:
    day, french = published.published_at, one_line(published.record.title.fr)
    yield "TY", "DATA"
    yield "ID", published.name
    for party in published.creators:
        yield "AU", one_line(party.name)
    yield "TI", _title(published)
    if french != _title(published):
        yield "TT", french
    yield "PY", str(day.year)
    yield "DA", f"{day:%Y/%m/%d}"
    yield "ET", str(published.version)
    yield "PB", one_line(published.site.publisher)
    if not published.test_doi:
        yield "DO", published.doi
    yield "UR", published.landing_page
    for code in published.languages:
        yield "LA", bcp47(code)
    for word in dict.fromkeys(map(one_line, (*published.keywords.en, *published.keywords.fr))):
        if word:
            yield "KW", word
    yield "AB", one_line(published.description.en)
    yield "N1", one_line(published.licence.title)


def csl(published: PublishedMetadata) -> list[dict[str, Any]]:
    """Return the items of CSL JSON: one data set."""
    day = published.published_at
    return [
        known(
            id=published.name,
            type="dataset",
            title=_title(published),
            author=[_csl_name(party) for party in published.creators],
            issued={"date-parts": [[day.year, day.month, day.day]]},
            publisher=one_line(published.site.publisher),
            version=str(published.version),
            DOI=None if published.test_doi else published.doi,
            URL=published.landing_page,
            language=", ".join(bcp47(code) for code in published.languages),
            keyword=", ".join(map(one_line, published.keywords.en)),
            abstract=one_line(published.description.en),
            license=published.licence.url or None,
        )
    ]


def _csl_name(party: Party) -> dict[str, str]:
    if not _is_split(party):
        return {"literal": one_line(party.name)}
    family, _, given = party.name.partition(",")
    return {"family": one_line(family), "given": one_line(given)}


def _csl_document(published: PublishedMetadata) -> bytes:
    return json_document(csl(published))


FORMATS = (
    RecordFormat(
        name="bibtex",
        media_type="application/x-bibtex",
        suffix=".bib",
        stem="citation",
        title="BibTeX",
        render=lambda published: bibtex(published).encode(),
    ),
    RecordFormat(
        name="ris",
        media_type="application/x-research-info-systems",
        suffix=".ris",
        stem="citation",
        title="RIS",
        render=lambda published: ris(published).encode(),
    ),
    RecordFormat(
        name="csl",
        media_type="application/vnd.citationstyles.csl+json",
        suffix=".csl.json",
        stem="citation",
        title="CSL JSON",
        render=_csl_document,
    ),
)
