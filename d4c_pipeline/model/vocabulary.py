"""Controlled vocabularies: a version with its terms in English and French, as their keepers publish them.

Reading the keepers' files belongs to `drafting.vocabularies`, keeping versions to the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A term: the keeper's identifier (UUID, URI, standard name), its labels (None without one) and other labels.

    `path`: its broader terms in English, the broadest first; empty if the vocabulary is flat.
    """

    id: str
    en: str | None
    fr: str | None = None
    others: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """A version of a vocabulary. `name`: an identifier; `version`: as its keeper states it; `sha256`: of its file."""

    name: str
    version: str
    title: str
    sha256: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Dropped:
    """A keyword of a dataset that a vocabulary had and has no more. `language`: `en` or `fr`.

    `last`: the newest imported version with the term; `current`: the newest version, without it.
    """

    dataset: str
    language: str
    keyword: str
    vocabulary: str
    last: str
    current: str
