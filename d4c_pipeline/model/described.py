"""What a source says of its own data, and a dataset whose description says it as well.

Asking the source belongs to `sources`, keeping the answer to the ledger; what operators declare stands in `dataset.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from d4c_pipeline.model.dataset import BilingualKeywords, Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.texts import clean

_LONGEST = 4000
"""Characters of a source's text that a record repeats; the whole of it is a native file."""


@dataclass(frozen=True)
class Described:
    """What the source itself says a vintage is, in English and French, as plain text; empty where it says nothing."""

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

    In each language what the source says in it; where it says nothing, nothing is added.
    """
    if not described:
        return dataset
    english, french = (
        _paragraph(*words)
        for words in (
            ("As the source describes it", ":", described.title[0], described.description[0], dataset.title.en),
            ("Selon la source", " :", described.title[1], described.description[1], dataset.title.fr),
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


def _paragraph(lead: str, colon: str, title: str, text: str, known: str) -> str:
    title, text = (" ".join(one.split()) for one in (title, text))
    said = [one for one in (title, text) if one and one != known]
    if not said:
        return ""
    whole = ". ".join(one.rstrip(".") for one in said)
    shown = whole if len(whole) <= _LONGEST else whole[:_LONGEST].rpartition(" ")[0] + " …"
    return f"{lead}{colon} {shown}{'' if shown.endswith('…') else '.'}"


def _joined(own: tuple[str, ...], further: tuple[str, ...]) -> tuple[str, ...]:
    """Both without repetitions, whatever their case; the dataset's own spelling stands."""
    found: dict[str, str] = {}
    for one in (*own, *(" ".join(word.split()) for word in further)):
        found.setdefault(one.casefold(), one)
    return tuple(one for one in found.values() if one)
