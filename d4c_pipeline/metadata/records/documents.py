"""What several records share: canonical JSON, texts of a bounded length, parties as identifiers.

A standard's own words belong to its module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.texts import clean

_ELLIPSIS = " …"


def json_document(value: Mapping[str, Any]) -> bytes:
    """Return canonical JSON: UTF-8, keys in the given order, indented by two, one final newline.

    `<`, `>` and `&` are escaped, so that the document may stand in a `script` element of a page.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"{text}\n".encode()


def plain(text: str) -> str:
    """Return a text without markup, control and direction characters; line ends and paragraphs stay."""
    return clean(text).strip()


def shortened(text: str, most: int) -> str:
    """Return a plain text of at most `most` characters, cut after a word."""
    text = plain(text)
    if len(text) <= most:
        return text
    cut = text[: most - len(_ELLIPSIS)]
    return f"{cut.rsplit(None, 1)[0] if any(map(str.isspace, cut[len(cut) // 2 :])) else cut}{_ELLIPSIS}"


def known(**facts: Any) -> dict[str, Any]:
    """Return the facts that have a value: neither None nor empty."""
    return {name: value for name, value in facts.items() if value is not None and value not in ("", [], {}, ())}


def party_id(party: Party) -> str | None:
    """Return the identifier of a party as an address: the ORCID of a person, the ROR id of an organisation, its URL."""
    if party.orcid:
        return f"https://orcid.org/{party.orcid}"
    if party.ror and not party.is_person:
        return f"https://ror.org/{party.ror.rpartition('/')[2]}"
    return party.url
