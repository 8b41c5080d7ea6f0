"""The causes of errors, who acted, in French: for the pages and judgements that a submitter reads.

Errors state their causes in English (`model.errors`); `words/causes.yaml` has the French text of those that foreign
files and addresses produce. A cause that it does not have is not shown in French: the English page has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from d4c_pipeline.appraisal.words import words

_FILE = Path(__file__).with_name("words") / "causes.yaml"
_PLACE = re.compile(r"\{(term:)?([a-z]+)\}")
_NUMBER = re.compile(r"\d{1,3}(,\d{3})*(\.\d+)?")
_POLICY = "appraisal policy "
_MOST = 2_000  # characters; patterns with several places are slow on a long text


def cause_in(language: str, cause: str | None) -> str:
    """Return a cause for a page in a language; in French by `words/causes.yaml`. Empty for None."""
    if not cause:
        return ""
    return in_french(cause) if language == "fr" else cause


def in_french(cause: str) -> str:
    """Return the French text of an English cause, else a text that refers to the English page."""
    terms, patterns, unknown = _texts()
    for pattern, french in patterns:
        if (found := pattern.fullmatch(cause[:_MOST])) is not None:
            parts = {name: _part(value or "", terms) for name, value in found.groupdict().items()}
            return _PLACE.sub(lambda place, parts=parts: parts[place[2]], french)
    return unknown


def actor_in(language: str, who: str) -> str:
    """Return who changed a submission, with the names of our own programs in a language."""
    actors: Mapping[str, str] = words("fr" if language == "fr" else "en")["status"]["actors"]
    if who.startswith(_POLICY):
        return actors["policy"].format(version=who.removeprefix(_POLICY))
    return actors.get(who, who)


def _part(value: str, terms: Mapping[str, str]) -> str:
    if _NUMBER.fullmatch(value):
        return value.replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")
    return terms.get(value, value)


@cache
def _texts() -> tuple[Mapping[str, str], Sequence[tuple[re.Pattern[str], str]], str]:
    document: Mapping[str, Any] = yaml.safe_load(_FILE.read_text("utf-8"))
    terms = document["terms"]
    either = "|".join(re.escape(each) for each in sorted(terms, key=len, reverse=True))
    patterns = [(_pattern(entry["en"], either), entry["fr"]) for entry in document["causes"]]
    return terms, patterns, document["unknown"]


def _pattern(english: str, terms: str) -> re.Pattern[str]:
    """Return the pattern of an English template; `terms`: the alternatives of a term, as a pattern."""
    out, end = "", 0
    for place in _PLACE.finditer(english):
        free = ".*" if place[2] == "rest" else r"(?: while .*)?" if place[2] == "at" else ".+?"
        if place[2] in ("status", "number", "line"):
            free = r"\d[\d,]*"
        elif place[2] == "suffix":
            free = r"\S+"
        out += re.escape(english[end : place.start()]) + f"(?P<{place[2]}>{terms if place[1] else free})"
        end = place.end()
    return re.compile(out + re.escape(english[end:]), re.DOTALL)
