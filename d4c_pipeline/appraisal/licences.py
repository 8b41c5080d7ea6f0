"""Recognises the licence that a submitter states, and words that forbid redistribution.

The licences that a dataset may declare belong to `model.licences`, their further names to the policy.
"""

from __future__ import annotations

import re
import unicodedata

from d4c_pipeline.appraisal.policy import Rights
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licences import Licence, licence

# Words after the name of a licence that leave it the same.
_FILLERS = frozenset({"0", "1", "2", "4", "v", "version", "international", "universal", "licence", "license"})


def recognised(stated: str, rights: Rights) -> Licence | None:
    """Return the licence that `stated` names by id, title or address; None for any other text."""
    try:
        return licence(stated.strip())
    except PermanentError:
        pass
    words = _words(stated)
    for identifier, aliases in rights.aliases.items():
        known = licence(identifier)
        for name in (known.id, known.spdx or known.id, known.title, known.url, *aliases):
            if _names(words, _words(name), is_address="/" in name):
                return known
    return None


def forbidding(text: str, rights: Rights) -> str | None:
    """Return the words of the policy in `text` that forbid redistribution or adaptation; None if it has none."""
    words = f" {' '.join(_words(text))} "
    return next((phrase for phrase in rights.forbidden if f" {' '.join(_words(phrase))} " in words), None)


def _names(words: list[str], name: list[str], *, is_address: bool) -> bool:
    if is_address:
        return _starts(_without_scheme(words), _without_scheme(name))
    return words[: len(name)] == name and set(words[len(name) :]) <= _FILLERS


def _starts(words: list[str], name: list[str]) -> bool:
    return words[: len(name)] == name


def _without_scheme(words: list[str]) -> list[str]:
    rest = words[1:] if words[:1] in (["http"], ["https"]) else words
    return rest[1:] if rest[:1] == ["www"] else rest


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[a-z0-9]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
