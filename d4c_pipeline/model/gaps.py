"""Marks of what a draft leaves to a person: texts that are to fill, and French or English texts that are to translate.

A marked declaration loads and can be built and checked, and `refuse` stops its publication. Writing the marks belongs
to `drafting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from d4c_pipeline.model.errors import DefinitionError

if TYPE_CHECKING:
    from d4c_pipeline.model.dataset import Dataset

TO_FILL = "to fill"
"""The mark in place of a value that no source states."""
TO_TRANSLATE = "to translate: "
"""The mark before a text that the source has in the other language only."""
NO_ADDRESS = "https://to-fill.invalid/"
"""The mark in place of an address. RFC 2606 reserves `.invalid`, so no request can reach a server."""
_SENTENCES = {
    "name.region": "Write the region of the data: ca for Canada, ca-qc for Quebec",
    "name.source": "Write the publisher in short, such as statcan",
    "name.dguid": "Write the DGUID of the area that the data cover, such as 2021A000011124 for Canada",
    "name.package": "Choose the package, d4c-datapkg-...: 'd4c datasets' lists those in use",
    "license": "Find the licence at the publisher: write its id, or its title, address and text",
    "creators": "Write the name of the organisation or the person that made the data",
    "source": "Write the address of the data",
    "title": "Write the title",
    "description": "Say in a sentence or two what the data hold, of which area and time",
}


@dataclass(frozen=True)
class Gap:
    """A marked field: its path in the YAML (`title.fr`, `creators.0.name`), and the sentence that fills it."""

    field: str
    sentence: str


def is_marked(text: str) -> bool:
    """Return whether a text is one of the marks, or begins with that of a translation."""
    return text in (TO_FILL, NO_ADDRESS) or text.startswith(TO_TRANSLATE.strip())


def gaps_of(dataset: Dataset) -> tuple[Gap, ...]:
    """Return the marked fields of a declaration, in the order of its fields."""
    return tuple(
        Gap(path, _sentence(path, text))
        for path, text in _texts(dataset.model_dump(mode="json", exclude_defaults=True), "")
        if is_marked(text)
    )


def refuse(dataset: Dataset) -> None:
    """Raise DefinitionError, with all marked fields and the sentences that fill them, if there are any."""
    if found := gaps_of(dataset):
        raise DefinitionError(
            f"The definition of {dataset.id} is a draft: {', '.join(gap.field for gap in found)} are marked",
            "; ".join(dict.fromkeys(f"{gap.field}: {gap.sentence}" for gap in found)),
        )


def _sentence(path: str, text: str) -> str:
    if text.startswith(TO_TRANSLATE.strip()):
        language = "French" if path.endswith(".fr") or ".fr." in path else "English"
        return f"Translate the text to {language}, without the mark"
    return next((words for name, words in _SENTENCES.items() if path.startswith(name)), "Write the value")


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in cast("dict[str, Any]", value).items():
            yield from _texts(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, each in enumerate(cast("list[Any]", value)):
            yield from _texts(each, f"{path}.{number}")
