"""Facts about a dataset with their evidence, by the path of the field that they fill, and the merge of several sources.

Reading them out of documents belongs to `about`, writing them to `draft`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.model.texts import clean

_LONGEST = 8000  # characters of a text; an abstract of HNAP has up to 4,000


@dataclass(frozen=True)
class Found:
    """A value for a field, and where it was found, in one line."""

    value: Any
    evidence: str


Facts = dict[str, Found]
"""Path of a field (`title.fr`, `processing.columns.pruid.description`) -> its value. Two paths are no fields:
`vintage` is a date of the data, `address` a list of `{url, format, language, name}` of the data's files."""


def plain(text: str | None) -> str:
    """Return a foreign text without markup and control characters, its blanks collapsed within paragraphs."""
    paragraphs = re.split(r"\n\s*\n", clean(text or "").replace("\r\n", "\n")[:_LONGEST])
    return "\n\n".join(filter(None, (" ".join(paragraph.split()) for paragraph in paragraphs)))


def merged(*several: Mapping[str, Found]) -> Facts:
    """Return the facts of all; where several fill a field, the first wins."""
    out: Facts = {}
    for facts in several:
        for path, found in facts.items():
            out.setdefault(path, found)
    return out


def documents(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; none for any other value, since documents of strangers have other types."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts_of(value: Any) -> list[str]:
    """Return the texts in a list; none for any other value."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def words(texts: Iterable[str | None]) -> list[str]:
    """Return keywords without empty ones and duplicates."""
    return list(dict.fromkeys(filter(None, (plain(text) for text in texts))))


def as_json(facts: Facts) -> dict[str, list[Any]]:
    """Return facts as JSON, to cross the wall of the sandbox."""
    return {path: [found.value, found.evidence] for path, found in facts.items()}


def from_json(document: Any) -> Facts:
    """Return the facts of `as_json`. Texts are cleaned again: the process that sent them parsed foreign bytes."""
    out: Facts = {}
    for path, pair in document.items() if isinstance(document, dict) else ():
        value, evidence = pair
        out[str(path)] = Found(_cleaned(value), " ".join(plain(str(evidence)).split()))
    return out


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {plain(str(name)): _cleaned(each) for name, each in value.items()}
    return value
