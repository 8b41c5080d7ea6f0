"""Suggestions for a query: complete words of the vocabulary, by their beginning and by likeness."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb

_MOST = 8
_WORD = re.compile(r"\w+")
_ALIKE = 0.84
"""The least Jaro-Winkler similarity of a word that is offered for a misspelt one."""


def suggestions(cursor: duckdb.DuckDBPyConnection, words: str, languages: Sequence[str], *, alike: bool) -> list[str]:
    """Return queries with the last word of `words` completed, the most frequent first.

    `alike`: nothing was found, so words that are spelt like the last one are offered as well.
    """
    found = list(_WORD.finditer(words))
    if not found:
        return []
    last = found[-1]
    within = ", ".join("?" * len(languages))
    completed = cursor.execute(
        f"""SELECT word FROM vocabulary, (SELECT lower(strip_accents(CAST(? AS VARCHAR))) AS begin)
            WHERE starts_with(folded, begin) AND folded <> begin AND language IN ({within})
            GROUP BY word ORDER BY max(uses) DESC, word LIMIT {_MOST}""",  # noqa: S608
        [last[0], *languages],
    ).fetchall()
    if not completed and alike:
        completed = cursor.execute(
            f"""SELECT word FROM vocabulary, (SELECT lower(strip_accents(CAST(? AS VARCHAR))) AS typed)
                WHERE language IN ({within}) AND abs(len(folded) - len(typed)) <= 3
                    AND jaro_winkler_similarity(folded, typed) >= {_ALIKE}
                GROUP BY word, folded, typed
                ORDER BY jaro_winkler_similarity(folded, typed) DESC, max(uses) DESC, word LIMIT {_MOST}""",  # noqa: S608
            [last[0], *languages],
        ).fetchall()
    return [f"{words[: last.start()]}{word}{words[last.end() :]}" for (word,) in completed]
