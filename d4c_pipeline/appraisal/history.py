"""How the data at a source address changed: the versions that the source or its catalogue still states.

All requests of a submission share a limit of time and number. No data are fetched. Reading the history of each kind of
source belongs to `history_sources`, judging to `criteria`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from d4c_pipeline.appraisal.bounded_web import BoundedWeb, SpentError
from d4c_pipeline.appraisal.delivered import refuse_inner
from d4c_pipeline.appraisal.history_sources import HISTORIES, UNREAD, Version
from d4c_pipeline.appraisal.words import amount
from d4c_pipeline.drafting.recognise import recognise

_SECONDS, _REQUESTS = 60.0, 60  # for all addresses of a submission
_MOST_VERSIONS = 50  # of an address; the newest stay
_UNTOLD = "The source did not tell its history.", "La source n'a pas fourni son historique."
_CUT = (
    "A limit of time or number was reached: the list is not complete.",
    "Une limite de temps ou de nombre a été atteinte : la liste n'est pas complète.",
)
_PARTIAL = (
    "The source did not answer every request: the list is not complete.",
    "La source n'a pas répondu à chaque requête : la liste n'est pas complète.",
)


@dataclass(frozen=True)
class History:
    """The versions at an address, the oldest first, with a sentence on them in both languages."""

    address: str
    versions: tuple[Version, ...]
    en: str
    fr: str

    def document(self) -> dict[str, Any]:
        """Return the history as JSON."""
        return {
            "address": self.address,
            "sentence": self.en,
            "sentence_fr": self.fr,
            "versions": [
                {
                    "at": each.at,
                    "what": each.en,
                    "what_fr": each.fr,
                    "size": each.size,
                    "change": each.change_en,
                    "change_fr": each.change_fr,
                }
                for each in self.versions
            ],
        }


def histories(
    addresses: Sequence[str], origins: Mapping[str, str], *, seconds: float = _SECONDS, requests: int = _REQUESTS
) -> tuple[History, ...]:
    """Return the history of each address; a source that has none or does not answer gets a sentence that says so.

    `origins`: origin -> origin that serves it instead. `seconds` and `requests`: the limits for all addresses.
    """
    web = BoundedWeb(origins, seconds, requests)
    return tuple(_history(web, address) for address in addresses)


def _history(web: BoundedWeb, address: str) -> History:
    found: list[Version] = []
    notes: list[tuple[str, str]] = []
    try:
        refuse_inner([address])
        recognised = recognise(address)
        for told in HISTORIES[recognised.kind](web, address, recognised):
            found += told.versions
            notes += [(told.en, told.fr)] if told.en else []
            if told.is_partial and _PARTIAL not in notes:
                notes.append(_PARTIAL)
    except SpentError:
        notes.append(_CUT)
    except (*UNREAD, ValueError, OverflowError):
        # Also a stranger's header that is no date or number: a history only informs, so it fails no assessment.
        notes.append(_PARTIAL if found else _UNTOLD)
    ordered = sorted(dict.fromkeys(found), key=lambda each: each.at)
    if len(ordered) > _MOST_VERSIONS and _CUT not in notes:
        notes.append(_CUT)
    kept = _with_changes(ordered[-_MOST_VERSIONS:])
    # Without an answer nothing is known, so that "no history" would be wrong.
    summary = [] if not kept and {_UNTOLD, _CUT, _PARTIAL} & set(notes) else [_summary(kept)]
    english, french = zip(*summary, *notes, strict=True)
    return History(address, kept, " ".join(english), " ".join(french))


def _summary(versions: Sequence[Version]) -> tuple[str, str]:
    if not versions:
        return "The source states no history.", "La source n'indique aucun historique."
    if len(versions) == 1:
        only = versions[0].at
        return f"The only stated date is {only}.", f"La seule date indiquée est {only}."
    first, last, count = versions[0].at, versions[-1].at, len(versions)
    return (
        f"{count} versions or changes from {first} to {last}.",
        f"{count} versions ou changements de {first} à {last}.",
    )


def _with_changes(versions: Sequence[Version]) -> tuple[Version, ...]:
    """Return the versions; each complete one has the difference of its size to that of the complete one before."""
    changed: list[Version] = []
    before: int | None = None
    for version in versions:
        if not version.is_complete or version.size is None:
            changed.append(version)
            continue
        changed.append(version if before is None else replace(version, **_change(version.size - before)))
        before = version.size
    return tuple(changed)


def _change(difference: int) -> dict[str, str]:
    if not difference:
        return {"change_en": "same size", "change_fr": "même taille"}
    sign = "+" if difference > 0 else "−"
    return {
        "change_en": f"{sign}{amount(abs(difference))}",
        "change_fr": f"{sign}{amount(abs(difference), 'fr')}",
    }
