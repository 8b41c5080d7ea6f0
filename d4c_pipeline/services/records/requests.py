"""Searches of OGC API Records, from the query of a GET, as selections of the query layer.

Source: https://docs.ogc.org/is/20-004r1/20-004r1.html (clause 7.4, query parameters)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import QueryParams

from d4c_pipeline.metadata.published import TONGUES, Tongue
from d4c_pipeline.metadata.records.ogc_record import DOI, TYPE, URN
from d4c_pipeline.services import negotiation
from d4c_pipeline.services.catalogue_index import RECORDS
from d4c_pipeline.services.cql2 import Column, Condition, Kind
from d4c_pipeline.services.discovery.conditions import NOT_WITHDRAWN, conditions_of, filter_of, one_of
from d4c_pipeline.services.discovery.entries import COLUMNS
from d4c_pipeline.services.discovery.paging import orders
from d4c_pipeline.services.discovery.parameters import check_names, limit_of, listed, single
from d4c_pipeline.services.discovery.selection import Search, Selection
from d4c_pipeline.services.discovery.words import any_of

DEFAULT_LIMIT, MOST = 10, 250
SEARCH_PARAMETERS = frozenset(
    {"bbox", "datetime", "limit", "token", "filter", "filter-lang", "filter-crs", "sortby", "q", "lang"}
    | {"ids", "type", "externalIds"}
)
# Names of records where those of items differ. Without withdrawn records both times are those of the publication.
SORTABLES = {
    **COLUMNS,
    "created": COLUMNS["published"],
    "updated": COLUMNS["published"],
    "vintage": COLUMNS["d4c:vintage"],
}
QUERYABLES = {**SORTABLES, "type": Column(f"'{TYPE}'", Kind.TEXT)}
"""The properties of filters by their names in records and in items."""
HAS_RECORD = Condition(f"id IN (SELECT id FROM {RECORDS})", ())  # noqa: S608 - names of ours
"""A release whose record could not be made is in the catalogue without one."""
_NEWEST_FIRST = ["-created"]
_TEXTS = 'title, title_fr, description, "d4c:description_fr"'
_LISTS = ("keywords", '"d4c:keywords_fr"')


def of_query(query: QueryParams) -> Search:
    """Return the search of a GET; parameters without a value are ignored. Raises ProblemError (400)."""
    check_names(query.keys(), SEARCH_PARAMETERS)
    stated: dict[str, Any] = {name: text for name in query if (text := single(query, name)) is not None}
    conditions = [NOT_WITHDRAWN, HAS_RECORD]
    conditions += conditions_of({name: stated[name] for name in stated.keys() - {"filter"}}, "cql2-text")
    if "filter" in stated:
        conditions.append(filter_of(stated["filter"], stated.get("filter-lang", "cql2-text"), QUERYABLES))
    if "ids" in stated:
        conditions.append(one_of("id", stated["ids"], "ids"))
    if "type" in stated and TYPE not in listed(stated["type"], "type"):
        conditions.append(Condition("false", ()))
    if "externalIds" in stated:
        conditions.append(_identified(listed(stated["externalIds"], "externalIds")))
    if "q" in stated:
        conditions.append(_worded(listed(stated["q"], "q")))
    return Search(
        Selection(tuple(conditions)),
        orders(listed(stated["sortby"], "sortby") if "sortby" in stated else _NEWEST_FIRST, SORTABLES),
        limit_of(stated.get("limit"), DEFAULT_LIMIT, MOST),
        stated.get("token"),
    )


def language_of(query: QueryParams, accepted: str) -> Tongue:
    """Return the language of the answer: `lang`, else the best of the header Accept-Language, else English.

    Raises ProblemError (400) for another language than English and French.
    """
    stated = single(query, "lang") or negotiation.language(accepted, TONGUES)
    check_names([stated], TONGUES, "language")
    return "fr" if stated == "fr" else "en"


def _identified(stated: Sequence[str]) -> Condition:
    """Return the condition that an external identifier is one of `stated`: a value, `scheme:value`, or a scheme."""
    values = [each.lower() for each in stated]
    # A DOI has no case. A URN begins with its scheme.
    dois = [each.removeprefix(f"{DOI}:").removeprefix("https://doi.org/") for each in values]
    known = f"id IN (SELECT id FROM {RECORDS} WHERE lower(identifier) IN (SELECT unnest(CAST(? AS VARCHAR[]))))"  # noqa: S608
    choices = [known, "lower(doi) IN (SELECT unnest(CAST(? AS VARCHAR[])))"]
    # Every record has both schemes.
    if {DOI, URN} & {each.removesuffix(":") for each in values}:
        choices.append("true")
    return Condition(f"({' OR '.join(choices)})", (values, dois))


def _worded(terms: Sequence[str]) -> Condition:
    """Return the condition that a record has one of `terms`. Words of a term are a phrase: they follow each other.

    A single word is found by its stem, also in names of providers and datasets. Raises ProblemError (400).
    """
    if not terms:
        return Condition("true", ())
    found = any_of(terms)  # refuses terms that are too long, too many, or without words
    words = [term for term in terms if len(term.split()) == 1]
    choices: list[str] = []
    parameters: list[Any] = []
    if words:
        found = any_of(words)
        choices.append(f"dataset IN (SELECT dataset FROM {found.sql})")  # noqa: S608 - SQL of ours
        parameters += found.parameters
    for phrase in (term for term in terms if len(term.split()) > 1):
        choices.append(f"regexp_matches({_folded()}, strip_accents(lower(CAST(? AS VARCHAR))))")
        spelled = r"\s+".join(map(re.escape, phrase.split()))
        parameters.append(f"(^|[^a-z0-9]){spelled}([^a-z0-9]|$)")
    return Condition(f"({' OR '.join(choices)})", tuple(parameters))


def _folded() -> str:
    """Return the SQL of a release's texts, each on a line of its own that ends no phrase of another."""
    lists = ", ".join(f"array_to_string({each}, ' | ')" for each in _LISTS)
    return f"strip_accents(lower(concat_ws(' | ', {_TEXTS}, {lists})))"
