"""Recognises a licence by the words, the id or the address that a source states.

The vocabulary belongs to `model.licences`. A licence that no pattern names is declared with its title and address, and
its text stays a gap.
"""

from __future__ import annotations

import re
from typing import Any

from d4c_pipeline.drafting.facts import Found, plain
from d4c_pipeline.model.gaps import NO_ADDRESS, TO_FILL, TO_TRANSLATE

_BLANKS = r"[\s\-–—_:]+"
# A Creative Commons licence without its version is not recognised: versions differ in rights.
_PATTERNS = tuple(
    (re.compile(pattern.replace("~", _BLANKS), re.IGNORECASE), identifier)
    for pattern, identifier in (
        (r"^ca-ogl-lgo$", "ogl-canada-2.0"),
        (r"open~government~licen[cs]e~toronto|open\.toronto\.ca/open-data-licen[cs]e", "ogl-toronto"),
        (
            r"open~government~licen[cs]e~canada|licence~du~gouvernement~ouvert~canada|ogl~canada(~2\.0)?$",
            "ogl-canada-2.0",
        ),
        (r"statcan\.gc\.ca/\S*licen[cs]e|statistics~canada~open~licen[cs]e", "statcan-open-licence"),
        (r"creativecommons\.org/licenses/by/4\.0|^cc~by~4\.0$|attribution~4\.0~international", "cc-by-4.0"),
        (r"creativecommons\.org/publicdomain/zero/1\.0|^cc~?zero$|^cc0(~1\.0)?$", "cc0-1.0"),
        (r"opendatacommons\.org/licenses/odbl|^odc~odbl$|^odbl(~1\.0)?$", "odbl-1.0"),
    )
)
_ADDRESS = re.compile(r"https?://[^\s<>\"')]+")
# "The photographs are not under the Open Government Licence": what limits a licence is for a person to read.
_LIMITED = re.compile(
    r"\b(not|no|non|nor|never|except\w*|exclud\w*|other than|unless|restrict\w*|prohibit\w*|limit\w*|subject to"
    r"|ne|pas|sans|sauf|hormis|excl\w*|à l['’]exception|autre que|interdi\w*|soumis\w*)\b",
    re.IGNORECASE,
)


def recognised(*stated: str | None) -> str | None:
    """Return the vocabulary id of the one licence that the texts, ids and addresses name.

    None if no pattern matches, if they name several licences, or if a text that names one limits or denies it.
    """
    named: set[str] = set()
    for text in filter(None, (plain(text) for text in stated)):
        found = {identifier for pattern, identifier in _PATTERNS if pattern.search(text)}
        if found and _LIMITED.search(_ADDRESS.sub("", text)):
            return None
        named |= found
    return named.pop() if len(named) == 1 else None


def licence_of(evidence: str, title: str | None, url: str | None = None, title_fr: str | None = None) -> Found | None:
    """Return the licence for the YAML: its id, or title and address of a licence of its own; None if none is stated."""
    title, title_fr = plain(title), plain(title_fr)
    if (known := recognised(title, url, title_fr)) is not None:
        return Found(known, evidence)
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
