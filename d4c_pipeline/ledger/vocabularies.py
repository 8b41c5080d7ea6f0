"""Versions of controlled vocabularies in the ledger, and their terms.

Reading the keepers' files and comparing terms with keywords belong to `drafting.vocabularies`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, insert, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.errors import DataError, UnknownNameError
from d4c_pipeline.model.vocabulary import Term, Vocabulary


@dataclass(frozen=True)
class Imported:
    """An imported version of a vocabulary; `terms`: their number."""

    name: str
    version: str
    title: str
    terms: int
    who: str
    imported_at: datetime


class Vocabularies:
    """Vocabularies in the ledger. Of each name the version that was imported last is the newest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, vocabulary: Vocabulary, *, who: str) -> bool:
        """Record a version; return False if it is there already.

        Raises DataError if that version is there with another content: a keeper changes the version with the terms.
        """
        table, terms = schema.vocabulary, schema.vocabulary_term
        key = (table.c.name == vocabulary.name) & (table.c.version == vocabulary.version)
        with self._engine.begin() as connection:
            known = connection.execute(select(table.c.sha256).where(key)).scalar()
            if known == vocabulary.sha256:
                return False
            if known is not None:
                raise DataError(
                    f"Version {vocabulary.version} of {vocabulary.name} was imported with another content",
                    "Ask its keeper which file is right; nothing was changed",
                )
            number = connection.execute(select(func.coalesce(func.max(table.c.number), 0))).scalar_one() + 1
            row = {
                "name": vocabulary.name,
                "version": vocabulary.version,
                "number": number,
                "title": vocabulary.title,
                "sha256": vocabulary.sha256,
                "who": who,
                "imported_at": now(),
            }
            connection.execute(insert(table), [row])
            connection.execute(
                insert(terms),
                [
                    {
                        "name": vocabulary.name,
                        "version": vocabulary.version,
                        "id": term.id,
                        "en": term.en,
                        "fr": term.fr,
                        "others": list(term.others),
                        "path": list(term.path),
                    }
                    for term in vocabulary.terms
                ],
            )
            append(
                connection,
                "vocabulary imported",
                who=who,
                vocabulary=vocabulary.name,
                version=vocabulary.version,
                terms=len(vocabulary.terms),
            )
            return True

    def names(self) -> tuple[str, ...]:
        """Return the names of all vocabularies, sorted."""
        table = schema.vocabulary
        with reading(self._engine) as connection:
            return tuple(connection.execute(select(table.c.name).distinct().order_by(table.c.name)).scalars())

    def all(self) -> tuple[Imported, ...]:
        """Return every imported version: by name, the newest version first."""
        table, terms = schema.vocabulary, schema.vocabulary_term
        counted = (
            select(func.count())
            .where(terms.c.name == table.c.name, terms.c.version == table.c.version)
            .scalar_subquery()
        )
        columns = (table.c.name, table.c.version, table.c.title, counted.label("terms"), table.c.who)
        wanted = select(*columns, table.c.imported_at).order_by(table.c.name, table.c.number.desc())
        with reading(self._engine) as connection:
            return tuple(Imported(**row) for row in connection.execute(wanted).mappings())

    def newest(self, name: str) -> str:
        """Return the newest version of a vocabulary. Raises UnknownNameError with the known names."""
        table = schema.vocabulary
        wanted = select(table.c.version).where(table.c.name == name).order_by(table.c.number.desc()).limit(1)
        with reading(self._engine) as connection:
            found = connection.execute(wanted).scalar()
        if found is None:
            known = ", ".join(self.names()) or "none is imported"
            raise UnknownNameError(f"There is no vocabulary {name} ({known})", "Import it with 'd4c vocabulary import'")
        return found

    def search(self, name: str, text: str, most: int = 50) -> tuple[Term, ...]:
        """Return the terms of the newest version with `text` in a label of either language, the shortest first.

        Raises UnknownNameError for an unknown vocabulary.
        """
        terms = schema.vocabulary_term
        wanted = select(terms).where(terms.c.name == name, terms.c.version == self.newest(name)).order_by(terms.c.id)
        # SQLite folds the case of ASCII only; a vocabulary has a few thousand terms.
        part = text.casefold()
        with reading(self._engine) as connection:
            found = [
                Term(row["id"], row["en"], row["fr"], tuple(row["others"]), tuple(row["path"]))
                for row in connection.execute(wanted).mappings()
                if any(part in label.casefold() for label in (row["en"], row["fr"]) if label)
            ]
        return tuple(sorted(found, key=lambda term: len(term.en or term.fr or ""))[:most])

    def count_terms(self, name: str, words: Collection[str]) -> int:
        """Return how many terms of the newest version have a label, in either language, among case-folded `words`.

        Raises UnknownNameError for an unknown vocabulary.
        """
        terms = schema.vocabulary_term
        wanted = select(terms.c.en, terms.c.fr).where(terms.c.name == name, terms.c.version == self.newest(name))
        with reading(self._engine) as connection:
            labelled = connection.execute(wanted).all()
        return sum(any(label and label.casefold() in words for label in labels) for labels in labelled)

    def former_labels(self, name: str) -> dict[str, str]:
        """Return the labels (case-folded) that only earlier versions have -> the newest of these versions."""
        table, terms = schema.vocabulary, schema.vocabulary_term
        joined = (terms.c.name == table.c.name) & (terms.c.version == table.c.version)
        wanted = (
            select(terms.c.en, terms.c.fr, table.c.version)
            .join(table, joined)
            .where(table.c.name == name)
            .order_by(table.c.number)
        )
        newest = self.newest(name)
        last: dict[str, str] = {}
        with reading(self._engine) as connection:
            for english, french, version in connection.execute(wanted):
                last |= {label.casefold(): version for label in (english, french) if label}
        return {label: version for label, version in last.items() if version != newest}
