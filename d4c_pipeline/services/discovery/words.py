"""Full text: which datasets have the words of a query, ranked, by the indexes of DuckDB's extension fts.

The extension makes the terms of each language (accents folded, stemmed, years kept). Its macro `match_bm25` visits
every document; the tables `postings_...` have the same terms ordered, with weights of fields, so that a query reads its
own terms only. Words are those of a dataset, whatever its releases; its vintages are among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from d4c_pipeline.services.catalogue_index import RELEASES
from d4c_pipeline.services.discovery.parameters import refused

LANGUAGES = {"en": "english", "fr": "french"}
"""The languages of texts, with the name of their stemmer."""
LONGEST = 500
"""The most characters of a query."""
_MOST_WORDS = 30
_MOST_TERMS = 10
_WORD = r"[\pL]{3,40}"
_IGNORE = r"(\.|[^a-z0-9])+"
_WEIGHTS = {"title": 3.0, "keywords": 2.0, "names": 1.0, "description": 1.0}
_K1, _B = 1.2, 0.75  # of BM25, as in DuckDB and Lucene
_FRENCH = (
    "a ai alors as au aucun aussi autre aux avait avec avoir c car ce cela ces cet cette comme d dans de des "
    "dont du elle elles en entre est et etc ete etre eu fait ils il j je l la le les leur leurs lors lui m "
    "mais me meme mes n ne ni nos notre nous on ont ou par pas plus pour qu que quel quelle qui s sa sans se "
    "selon ses si son sont sous sur t tous tout toute toutes tres un une vers votre vous y"
)


@dataclass(frozen=True)
class Matches:
    """SQL of a table with the columns `dataset` and `score`, with its parameters."""

    sql: str
    parameters: tuple[Any, ...]


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the texts of datasets, their full-text indexes, and the vocabulary of suggestions."""
    connection.execute("CREATE TABLE stopwords_fr AS SELECT unnest(string_split(?, ' ')) AS word", [_FRENCH])
    for language, stemmer in LANGUAGES.items():
        table = f"texts_{language}"
        connection.execute(_texts(table, "_fr" if language == "fr" else ""))
        stopwords = "english" if language == "en" else "stopwords_fr"
        fields = ", ".join(f"'{field}'" for field in _WEIGHTS)
        connection.execute(
            f"PRAGMA create_fts_index('{table}', 'number', {fields}, stemmer='{stemmer}', stopwords='{stopwords}', "
            f"strip_accents=1, lower=1, ignore='{_IGNORE}', overwrite=1)"
        )
        _order(connection, language)
    spelled = " UNION ALL ".join(
        f"SELECT title, keywords, '{each}' AS language FROM texts_{each}"  # noqa: S608 - names of this module
        for each in LANGUAGES
    )
    connection.execute(
        f"""CREATE TABLE vocabulary AS
            WITH words AS (
                SELECT unnest(regexp_extract_all(lower(title || ' ' || keywords), '{_WORD}')) AS word, language
                FROM ({spelled})),
            counted AS (
                SELECT word, lower(strip_accents(word)) AS folded, language, count(*) AS uses FROM words GROUP BY ALL)
            SELECT folded, language, arg_max(word, uses) AS word, sum(uses) AS uses FROM counted
            GROUP BY folded, language ORDER BY folded"""  # noqa: S608
    )


def has_words(text: str) -> bool:
    """Whether a query has a letter or a digit that texts are searched by."""
    return any(character.isalnum() for character in text)


def matches(words: str, languages: Sequence[str], *, every: bool) -> Matches:
    """Return the datasets that have `every` word of a query, or any of them, by their BM25 score.

    A query of stop words only has no words, and finds nothing.
    """
    queries = [_in_language(language, every=every) for language in languages]
    sql = f"SELECT dataset, max(score) AS score FROM ({' UNION ALL '.join(queries)}) GROUP BY dataset"  # noqa: S608
    return Matches(f"({sql})", (words[:LONGEST],) * len(languages))


def any_of(terms: Sequence[str]) -> Matches:
    """Return the datasets that have every word of at least one of `terms`, in any language, by their best score.

    Raises ProblemError (400) for terms that are too long, too many, or without a letter or digit.
    """
    if sum(map(len, terms)) > LONGEST or len(terms) > _MOST_TERMS:
        raise refused(f"q has more than {LONGEST} characters or {_MOST_TERMS} terms", "Shorten it")
    if wordless := [term for term in terms if not has_words(term)]:
        raise refused(f"q='{wordless[0]}' has no letter or digit", "Write words such as q=census population")
    found = [matches(term, tuple(LANGUAGES), every=True) for term in terms]
    parts = " UNION ALL ".join(f"FROM {each.sql}" for each in found)
    sql = f"(SELECT dataset, max(score) AS score FROM ({parts}) GROUP BY dataset)"  # noqa: S608
    return Matches(sql, tuple(parameter for each in found for parameter in each.parameters))


def _in_language(language: str, *, every: bool) -> str:
    stemmer = LANGUAGES[language]
    enough = "HAVING count(*) = any_value(asked.words)" if every else ""
    # As the extension makes terms of texts.
    return f"""
        (WITH spelled AS (
            SELECT DISTINCT w FROM (
                SELECT unnest(string_split_regex(regexp_replace(lower(strip_accents(CAST(? AS VARCHAR))),
                    '{_IGNORE}', ' ', 'g'), '\\s+')) AS w)
            WHERE w <> '' AND w NOT IN (FROM fts_main_texts_{language}.stopwords) LIMIT {_MOST_WORDS}),
        terms AS (SELECT DISTINCT stem(w, '{stemmer}') AS term FROM spelled),
        asked AS (SELECT count(*) AS words FROM terms),
        known AS MATERIALIZED (
            SELECT d.termid, ln(1 + (s.num_docs - d.df + 0.5) / (d.df + 0.5)) AS rarity
            FROM fts_main_texts_{language}.dict d JOIN terms USING (term), fts_main_texts_{language}.stats s)
        SELECT p.dataset, sum(k.rarity * p.weight) AS score
        FROM postings_{language} p JOIN known k USING (termid), asked
        WHERE p.termid IN (SELECT termid FROM known)
        GROUP BY p.dataset {enough})"""  # noqa: S608


def _texts(table: str, suffix: str) -> str:
    """Return the statement that makes the texts of datasets; a text that lacks a language has that of the other."""
    title, description, keywords = (
        ("title", "description", "keywords")
        if not suffix
        else ("coalesce(title_fr, title)", '"d4c:description_fr"', '"d4c:keywords_fr"')
    )
    return f"""
        CREATE TABLE {table} AS
        SELECT CAST(row_number() OVER (ORDER BY dataset) AS INTEGER) AS number, dataset,
            coalesce(max_by({title}, position), '') AS title,
            coalesce(array_to_string(max_by({keywords}, position), ' '), '') AS keywords,
            concat_ws(' ', replace(dataset, '_', ' '), dataset, string_agg(DISTINCT vintage, ' '),
                any_value(doi), array_to_string(max_by(list_transform(providers, lambda p: p.name), position), ' '))
                AS names,
            coalesce(max_by({description}, position), '') AS description
        FROM {RELEASES} WHERE withdrawn_at IS NULL GROUP BY dataset"""  # noqa: S608


def _order(connection: duckdb.DuckDBPyConnection, language: str) -> None:
    """Make `postings_...` of the extension's terms: ordered, with the part of BM25 that no query changes."""
    weights = " ".join(f"WHEN '{field}' THEN {weight}" for field, weight in _WEIGHTS.items())
    schema = f"fts_main_texts_{language}"
    connection.execute(
        f"""CREATE TABLE postings_{language} AS
            SELECT found.termid, x.dataset,
                found.uses * {_K1 + 1} / (found.uses + {_K1} * (1 - {_B} + {_B} * d.len / s.avgdl)) AS weight
            FROM (SELECT t.termid, t.docid, sum(CASE f.field {weights} ELSE 1 END) AS uses
                  FROM {schema}.terms t JOIN {schema}.fields f USING (fieldid) GROUP BY ALL) found
            JOIN {schema}.docs d USING (docid) JOIN texts_{language} x ON x.number = d.name, {schema}.stats s
            ORDER BY found.termid, x.dataset"""  # noqa: S608
    )
