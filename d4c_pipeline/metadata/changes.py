"""The changes of a release in words, in both languages: README, portal, feeds and Dagster's UI show the same counts.

The counts are those of a summary's report (`model.release.CHANGES`). Finding them belongs to `processing.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from d4c_pipeline.model.provinces import NAMES

_KINDS = {
    "added": ("rows added", "enregistrements ajoutés"),
    "removed": ("rows removed", "enregistrements retirés"),
    "modified": ("rows with other values", "enregistrements dont des valeurs diffèrent"),
    "geometry_modified": ("rows with another shape only", "enregistrements dont seule la forme diffère"),
    "extended": (
        "rows with values in new columns only",
        "enregistrements avec des valeurs dans de nouvelles colonnes seulement",
    ),
}
_HEADING = ("Changes since {}", "Changements depuis {}")
_NOTHING = ("no row differs", "aucun enregistrement ne diffère")
_COLUMNS = ("changed values by column", "valeurs changées par colonne")
_PROVINCES = ("changed rows by province", "enregistrements changés par province")
_ELSEWHERE = ("in no province", "hors des provinces")
_REST = ("and {} more", "et {} de plus")


@dataclass(frozen=True)
class ChangesInWords:
    """The counts of changed rows with their names in one language.

    `kinds`, `columns` and `provinces` are name and count, the last two in falling order of counts, and empty where the
    changes have none.
    """

    language: Literal["en", "fr"]
    since: str
    kinds: tuple[tuple[str, int], ...]
    columns: tuple[tuple[str, int], ...]
    provinces: tuple[tuple[str, int], ...]

    @property
    def heading(self) -> str:
        """The title of the changes, with the earlier release."""
        return self._word(_HEADING).format(self.since)

    def lines(self, column: Callable[[str], str] = str, *, most: int | None = None) -> tuple[str, ...]:
        """Return a line for each kind, one for all columns and one for all provinces, without a stop at their ends.

        `column`: the form of a column's name. `most`: columns to name, by default all of them.
        """
        colon = " : " if self.language == "fr" else ": "
        found = [f"{name}{colon}{count}" for name, count in self.kinds] or [self._word(_NOTHING)]
        if self.columns:
            shown = self.columns[:most]
            named = [f"{column(name)} {count}" for name, count in shown]
            rest = len(self.columns) - len(shown)
            more = f" {self._word(_REST).format(rest)}" if rest else ""
            found.append(f"{self._word(_COLUMNS)}{colon}{', '.join(named)}{more}")
        if self.provinces:
            named = [f"{name} {count}" for name, count in self.provinces]
            found.append(f"{self._word(_PROVINCES)}{colon}{', '.join(named)}")
        return tuple(found)

    def sentence(self, *, most: int = 8) -> str:
        """Return heading and lines as one sentence, for a feed."""
        colon = " : " if self.language == "fr" else ": "
        return f"{self.heading}{colon}{'; '.join(self.lines(most=most))}."

    def _word(self, both: tuple[str, str]) -> str:
        return both[self.language == "fr"]


def in_words(found: Mapping[str, Any], language: Literal["en", "fr"]) -> ChangesInWords:
    """Return the counts `found` of a release in words; `found` is the report's `changes`."""
    french = language == "fr"
    # Releases older than the counts by province have none.
    provinces = found.get("province", {})
    return ChangesInWords(
        language=language,
        since=found["since"],
        # Of JSON of any order: a manifest sorts its names, and a recovered ledger has those.
        kinds=tuple((words[french], found["kind"][kind]) for kind, words in _KINDS.items() if kind in found["kind"]),
        columns=tuple(sorted(found["column"].items(), key=lambda each: (-each[1], each[0]))),
        provinces=tuple(
            (getattr(NAMES[code], language) if code else _ELSEWHERE[french], count)
            for code, count in sorted(provinces.items(), key=lambda each: (not each[0], -each[1], each[0]))
        ),
    )
