"""The source's own description of its data, and its merge into a dataset's description.

Fetching it belongs to `sources`, storing it to the ledger, the operator's description to `dataset.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.model.dataset import BilingualKeywords, Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.texts import clean

_LONGEST = 4000
"""Characters of a source's text that a record repeats; the complete text is a native file."""
_LEADS = ("As the source describes it:", "Selon la source :")


@dataclass(frozen=True)
class Described:
    """The source's description of a vintage in English and French, as plain text; empty if the source has none."""

    title: tuple[str, str]
    description: tuple[str, str]
    keywords: tuple[tuple[str, ...], tuple[str, ...]]

    def __post_init__(self) -> None:
        for name in ("title", "description"):
            english, french = getattr(self, name)
            object.__setattr__(self, name, (clean(english), clean(french)))
        words = tuple(tuple(filter(str.strip, map(clean, each))) for each in self.keywords)
        object.__setattr__(self, "keywords", words)

    def __bool__(self) -> bool:
        return any(self.title) or any(self.description) or any(self.keywords)


def with_source_words(dataset: Dataset, described: Described | None) -> Dataset:
    """Return `dataset` with the source's title and text as a paragraph of its description, and with its keywords.

    Each language gets the source's text in that language, if there is one.
    """
    if not described:
        return dataset
    english, french = (
        _paragraph(*words)
        for words in (
            (_LEADS[0], described.title[0], described.description[0], dataset.title.en),
            (_LEADS[1], described.title[1], described.description[1], dataset.title.fr),
        )
    )
    return dataset.model_copy(
        update={
            "description": Bilingual(
                en="\n\n".join(filter(None, (dataset.description.en.strip(), english))),
                fr="\n\n".join(filter(None, (dataset.description.fr.strip(), french))),
            ),
            "keywords": BilingualKeywords(
                en=_joined(dataset.keywords.en, described.keywords[0]),
                fr=_joined(dataset.keywords.fr, described.keywords[1]),
            ),
        }
    )


def source_words(dataset: Dataset, properties: Mapping[str, Any]) -> Described | None:
    """Return the source's description out of an item of the dataset, None if the item has none.

    `properties`: of an item made with `with_source_words`, which gives the same words again for the result.
    """
    texts = [str(properties.get(name, "")) for name in ("description", "d4c:description_fr")]
    english, french = (_said(text, lead) for text, lead in zip(texts, _LEADS, strict=True))
    if not english and not french:
        return None
    further = [
        _further(properties.get(name, ()), own)
        for name, own in (("keywords", dataset.keywords.en), ("d4c:keywords_fr", dataset.keywords.fr))
    ]
    return Described(("", ""), (english, french), (further[0], further[1]))


def _further(stated: Iterable[Any], own: Iterable[str]) -> tuple[str, ...]:
    known = {word.casefold() for word in own}
    return tuple(str(word) for word in stated if str(word).casefold() not in known)


def _said(text: str, lead: str) -> str:
    """Return the source's words in a description: the rest of its last paragraph after `lead`."""
    before, found, said = text.rpartition(lead)
    return said.strip() if found and "\n" not in said and (not before or before.endswith("\n\n")) else ""


def _paragraph(lead: str, title: str, text: str, known: str) -> str:
    title, text, known = (" ".join(words.split()) for words in (title, text, known))
    sentences = [words for words in (title, text) if words and words != known]
    if not sentences:
        return ""
    complete = ". ".join(words.rstrip(".") for words in sentences)
    shown = complete if len(complete) <= _LONGEST else complete[:_LONGEST].rpartition(" ")[0] + " …"
    return f"{lead} {shown}{'' if shown.endswith('…') else '.'}"


def _joined(own: tuple[str, ...], further: tuple[str, ...]) -> tuple[str, ...]:
    """Return all words without duplicates, ignoring case; the dataset's own spelling wins."""
    found: dict[str, str] = {}
    for keyword in (*own, *(" ".join(word.split()) for word in further)):
        found.setdefault(keyword.casefold(), keyword)
    return tuple(filter(None, found.values()))
