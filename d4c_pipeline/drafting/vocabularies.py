"""Reads controlled vocabularies out of the files that their keepers publish, and finds keywords that they dropped.

Formats: CSV of NASA's GCMD, SKOS in RDF/XML (Government of Canada), the XML of CF standard names. Keeping the versions
belongs to `ledger.vocabularies`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.drafting.facts import plain
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vocabulary import Dropped, Term, Vocabulary

_LARGEST = 64 << 20  # bytes; the Core Subject Thesaurus has 1.7 MB, the CF standard names 4
_SKOS = "{http://www.w3.org/2004/02/skos/core#}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_TITLES = ("{http://purl.org/dc/elements/1.1/}title", "{http://purl.org/dc/terms/}title")
_DATES = tuple(f"{{http://purl.org/dc/terms/}}{name}" for name in ("modified", "created", "issued"))
_STATED = re.compile(rb"Version Information\s+(\S+)")
_REMEDY = "Give a CSV of GCMD, SKOS in RDF/XML, or the XML of CF standard names"


def read_vocabulary(file: Path, name: str | None = None) -> Vocabulary:
    """Return the vocabulary in a file. `name`: instead of the name that follows from the file.

    Raises DataError for a file in another format, without terms, or that states no version.
    """
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= _LARGEST else b""
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror or error}", "Correct the path") from error
    if size > _LARGEST:
        raise DataError(f"{file.name} has {size:,} bytes, a vocabulary at most {_LARGEST:,}", _REMEDY)
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    known, version, title, terms = _xml(content, file) if start == b"<" else _gcmd(content, file)
    listed = tuple(sorted(terms, key=lambda term: term.id))
    if not listed:
        raise DataError(f"{file.name} has no terms", _REMEDY)
    if len({term.id for term in listed}) != len(listed):
        raise DataError(f"{file.name} has two terms with one identifier", "Download it again from its keeper")
    if not version:
        raise DataError(f"{file.name} states no version", "Download it again from its keeper")
    return Vocabulary(name or known, version, title, hashlib.sha256(content).hexdigest(), listed)


def dropped_keywords(ledger: Ledger, datasets: Collection[Dataset]) -> tuple[Dropped, ...]:
    """Return the keywords of datasets that an earlier version of a vocabulary had, and its newest version has not."""
    found: list[Dropped] = []
    for name in ledger.vocabularies.names():
        former = ledger.vocabularies.former_labels(name)
        if not former:
            continue
        current = ledger.vocabularies.newest(name)
        for dataset in datasets:
            for language, keywords in (("en", dataset.keywords.en), ("fr", dataset.keywords.fr)):
                found += [
                    Dropped(dataset.id, language, keyword, name, former[keyword.casefold()], current)
                    for keyword in keywords
                    if keyword.casefold() in former
                ]
    return tuple(sorted(found, key=lambda each: (each.dataset, each.vocabulary, each.keyword)))


def _gcmd(content: bytes, file: Path) -> tuple[str, str, str, Iterator[Term]]:
    """Read two header lines (version, names of levels) and a line per term, whose last column is its UUID."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file.name} is not a CSV in UTF-8: {error}", _REMEDY) from error
    stated = rows[0] if rows else []
    version = next((cell.partition(":")[2].strip() for cell in stated if cell.startswith("Keyword Version:")), "")
    scheme = next((found[1] for cell in stated if (found := re.search(r"concept_scheme/(\w+)", cell))), "")
    if not version or not scheme or len(rows) < 2 or rows[1][-1] != "UUID":
        raise DataError(f"{file.name} is not a vocabulary of GCMD: its header has no version or no UUID", _REMEDY)
    width = len(rows[1])
    # Science keywords and locations are hierarchies; formats and the like have a short and a long name.
    flat = rows[1][0] in ("Short_Name", "ISO_Topic_Category")
    return f"gcmd_{scheme}", version, f"GCMD {scheme}", _gcmd_terms(rows[2:], width, flat=flat)


def _gcmd_terms(rows: Sequence[Sequence[str]], width: int, *, flat: bool) -> Iterator[Term]:
    for row in rows:
        if len(row) != width or not row[-1]:
            continue  # a trailing line without a term
        *levels, last = [cell for cell in map(plain, row[:-1]) if cell] or [row[-1]]
        if flat:
            first, *others = [*levels, last]
            yield Term(row[-1], first, others=tuple(others))
        else:
            yield Term(row[-1], last, path=tuple(levels))


def _xml(content: bytes, file: Path) -> tuple[str, str, str, Iterator[Term]]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise DataError(f"{file.name} is not well-formed XML: {error}", _REMEDY) from error
    if root.tag == "standard_name_table":
        version = plain(root.findtext("version_number"))
        return "cf_standard_names", version, "CF standard names", _cf_terms(root)
    if root.tag == f"{_RDF}RDF":
        scheme = root.find(f"{_SKOS}ConceptScheme")
        title = next((text for tag in _TITLES if (text := _titled(scheme, tag))), "") if scheme is not None else ""
        # The thesaurus states its version in a comment, the short lists only the date of their creation.
        in_comment = _STATED.search(content[:4096])
        version = in_comment[1].decode("ascii", "replace") if in_comment is not None else ""
        if scheme is not None:
            version = version or next((text for tag in _DATES if (text := plain(scheme.findtext(tag)))), "")
        version = version or hashlib.sha256(content).hexdigest()[:12]  # its keeper states none: the content is it
        name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or re.sub(r"\W+", "_", file.stem.lower())
        return name, version, title or file.stem, _skos_terms(root)
    raise DataError(f"{file.name} is no vocabulary: its root is {root.tag}", _REMEDY)


def _titled(scheme: Any, tag: str) -> str:
    texts = {each.get(_LANGUAGE): plain(each.text) for each in scheme.iterfind(tag)}
    return texts.get("en") or next(iter(texts.values()), "")


def _skos_terms(root: Any) -> Iterator[Term]:
    for concept in root:
        kinds = [each.get(f"{_RDF}resource", "") for each in concept.iterfind(f"{_RDF}type")]
        if concept.tag != f"{_SKOS}Concept" and not any(kind.endswith("core#Concept") for kind in kinds):
            continue
        labels = {each.get(_LANGUAGE): plain(each.text) for each in concept.iterfind(f"{_SKOS}prefLabel")}
        others = tuple(filter(None, (plain(each.text) for each in concept.iterfind(f"{_SKOS}altLabel"))))
        english, french = labels.get("en") or labels.get(None), labels.get("fr")
        identifier = concept.get(f"{_RDF}about")
        if identifier and (english or french):
            yield Term(identifier, english or None, french or None, others)


def _cf_terms(root: Any) -> Iterator[Term]:
    aliases: dict[str, list[str]] = {}
    for alias in root.iterfind("alias"):
        for current in alias.iterfind("entry_id"):
            aliases.setdefault(plain(current.text), []).append(str(alias.get("id")))
    for entry in root.iterfind("entry"):
        name = str(entry.get("id"))
        yield Term(name, name, others=tuple(aliases.get(name, ())))
