"""The licence of a draft, from the words, the id or the address that a source states.

Recognising a licence of the vocabulary belongs to `model.licence_names`. Any other licence is declared with its title
and address, and its text stays a gap.
"""

from __future__ import annotations

import re
from typing import Any

from d4c_pipeline.drafting.facts import Found, plain
from d4c_pipeline.model.gaps import NO_ADDRESS, TO_FILL, TO_TRANSLATE
from d4c_pipeline.model.licence_names import recognised

_ADDRESS = re.compile(r"https?://[^\s<>\"')]+")


def licence_of(evidence: str, title: str | None, url: str | None = None, title_fr: str | None = None) -> Found | None:
    """Return the licence for the YAML: its id, or title and address of a licence of its own; None if none is stated."""
    title, title_fr = plain(title), plain(title_fr)
    if (known := recognised(title, plain(url), title_fr)) is not None:
        return Found(known.id, evidence)
    if not title or re.search(r"not specified|unknown|non précisé", title, re.IGNORECASE):
        return None
    address = url or next(iter(_ADDRESS.findall(title)), None)
    name = _ADDRESS.sub("", title).strip(" ()-:.") or title
    declared: dict[str, Any] = {
        "title": {"en": name, "fr": title_fr or f"{TO_TRANSLATE}{name}"},
        "url": address or NO_ADDRESS,
        "text": TO_FILL,
    }
    return Found(declared, evidence)
