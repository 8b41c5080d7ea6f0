"""Recognises a licence of the vocabulary by the words, the id or the address that somebody states.

The vocabulary belongs to `model.licences`. What a draft declares of any other licence belongs to `drafting.licences`,
words that forbid a publication to `appraisal.criteria`. A wrong licence is worse than none: one word more than the name
of a licence may deny, limit or double it, so that a person has to read such a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from d4c_pipeline.model.licences import Licence, licence, licences

# Further names, beside id, SPDX id and title. A Creative Commons licence without its version is no name: versions
# differ in rights.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "ogl-canada-2.0": (
        "ca-ogl-lgo",
        "ogl canada",
        "open government licence canada",
        "open government license canada",
        "licence du gouvernement ouvert canada",
    ),
    "statcan-open-licence": ("statistics canada open license", "licence ouverte de statistique canada"),
    "cc-by-4.0": ("cc by 4.0", "creative commons attribution 4.0", "attribution 4.0 international"),
    "cc0-1.0": ("cc0", "cc zero", "creative commons zero", "public domain dedication"),
    "odbl-1.0": (
        "odbl",
        "odc odbl",
        "open database license",
        "open database licence",
        "open data commons open database license",
    ),
    "ogl-toronto": (
        "open data licence toronto",
        "open government license toronto",
        "open government licence toronto version 1.0",
    ),
    "public-domain-natural-earth": ("natural earth public domain",),
}
# Names that leave the version open: they fit a text or an address that states it, and name nothing alone.
_WITHOUT_VERSION: Mapping[str, tuple[str, ...]] = {"cc-by-4.0": ("cc by", "creative commons attribution")}
# Patterns of whole addresses without scheme and `www.`. Only pages that are known to hold the licence: a publisher has
# pages of other licences too (Statistics Canada: of postal codes and microdata), and of its users' words.
_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "ogl-canada-2.0": (
        r"(?:open|ouvert|donnees|data)\.canada\.ca/(?:en|fr)/open-government-licen[cs]e-canada",
        r"(?:open|ouvert|donnees|data)\.canada\.ca/(?:en|fr)/licence-du-gouvernement-ouvert-canada",
    ),
    "statcan-open-licence": (
        r"statcan\.gc\.ca/(?:en|fr|eng|fra)/reference/licence(?:-eng|-fra)?(?:\.html?)?",
        r"statcan\.gc\.ca/(?:en|fr|eng|fra)/(?:[a-z-]+/)?(?:open-licence|licence-ouverte)",
    ),
    "cc-by-4.0": (r"creativecommons\.org/licenses/by/4\.0(?:/(?:legalcode|deed)(?:\.[\w-]+)?)?",),
    "cc0-1.0": (r"creativecommons\.org/publicdomain/zero/1\.0(?:/(?:legalcode|deed)(?:\.[\w-]+)?)?",),
    "odbl-1.0": (r"opendatacommons\.org/licenses/odbl(?:/(?:1-0|1\.0|summary))?(?:/index\.html)?",),
    "ogl-toronto": (r"open\.toronto\.ca/open-data-licen[cs]e",),
    "public-domain-natural-earth": (r"naturalearthdata\.com/about/terms-of-use",),
}
_ADDRESS = re.compile(r"https?://[^\s<>\"')]+|(?<![\w/.@-])(?:[\w-]+\.)+[a-z]{2,}/[^\s<>\"')]+", re.IGNORECASE)
# What the licence chooser of Creative Commons adds to its addresses.
_CHOOSER = re.compile(r"/?\?ref=chooser-v\d$")
# Words around the name of a licence that leave it the same. No number, no `and`, no `or`, and not `contains`: what
# contains information under a licence may itself be under another.
_FILLERS = frozenset(
    (
        *("a", "the", "this", "these", "is", "are", "of", "under", "terms", "data", "dataset", "datasets", "work"),
        *("licence", "license", "licensed", "licences", "international", "universal", "href"),
        *("public", "released", "available", "published", "distributed"),
        *("la", "le", "les", "ces", "de", "des", "est", "sont", "sous", "selon", "termes", "donnees", "jeu"),
        *("publiees", "disponibles"),
    )
)
# A sign that is none of these may deny the words (`?`, `!`, `*`, a stroke through them) or be a word in another script.
_PLAIN = re.compile(r"""[a-z0-9\s.,;:()\[\]<>="'/_|\u2018\u2019\u00ab\u00bb\u201c\u201d\u2010-\u2015-]*""")
_ACCENTS = re.compile("[\u0300-\u0302\u0308\u0327]")


def recognised(*stated: str | None, aliases: Mapping[str, Iterable[str]] | None = None) -> Licence | None:
    """Return the one licence of the vocabulary that the texts, ids and addresses name.

    `aliases`: further names and addresses by the id of their licence. None if the texts name no licence or several, or
    if one says anything else. Raises PermanentError for an alias of an unknown licence.
    """
    further = {licence(identifier).id: tuple(names) for identifier, names in (aliases or {}).items()}
    every = {known.id: _names_of(known, further.get(known.id, ())) for known in licences()}
    named, fitting = set[str](), set[str]()
    for text in filter(None, stated):
        addresses = [_of_address(_bare(address), further) for address in _ADDRESS.findall(text)]
        rest = _ADDRESS.sub(" ", text)
        words = _of_words(words_of(rest), every) if _PLAIN.fullmatch(_letters(rest)) else None
        if words is None or None in addresses:
            return None
        named |= words[0] | set(filter(None, addresses))
        fitting |= words[1]
    identifier = named.pop() if len(named) == 1 else None
    return licence(identifier) if identifier is not None and fitting <= {identifier} else None


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without accents and punctuation; `v2.0` is `v`, `2`, `0`."""
    return re.findall(r"\bv(?=[0-9])|[a-z0-9]+", _letters(text))


def _letters(text: str) -> str:
    """Return a text in lower case without the accents of English and French."""
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))


def _names_of(known: Licence, further: Iterable[str]) -> list[list[str]]:
    """Return the names of a licence as words, the longest first; each may be followed by the version of the licence."""
    names = [known.id, known.spdx or known.id, known.title, *_NAMES.get(known.id, ()), *further]
    if (version := re.search(r"[0-9]+\.[0-9]+", known.title)) is not None:
        names += [f"{name} {mark}{version[0]}" for name in names for mark in ("", "v", "version ")]
    return sorted(filter(None, map(words_of, names)), key=len, reverse=True)


def _of_words(words: list[str], every: Mapping[str, list[list[str]]]) -> tuple[set[str], set[str]] | None:
    """Return the licences that the words name, and those that they fit; None if they say anything else."""
    exact = [(name, identifier, True) for identifier, names in every.items() for name in names]
    loose = [(words_of(name), each, False) for each, names in _WITHOUT_VERSION.items() for name in names]
    names = sorted([*exact, *loose], key=lambda each: len(each[0]), reverse=True)
    found: tuple[set[str], set[str]] = set(), set()
    at = 0
    while at < len(words):
        name = next((each for each in names if words[at : at + len(each[0])] == each[0]), None)
        if name is not None:
            found[0 if name[2] else 1].add(name[1])
            at += len(name[0])
        elif words[at] in _FILLERS:
            at += 1
        else:
            return None
    return found


def _of_address(address: str, aliases: Mapping[str, tuple[str, ...]]) -> str | None:
    for identifier, names in aliases.items():
        own = [_bare(name) for name in names if "/" in name]
        if any(address.startswith(name) and address[len(name) :][:1] in ("", "/", "?", "#") for name in own):
            return identifier
    address = _CHOOSER.sub("", address)
    return next(
        (each for each, pages in _ADDRESSES.items() if any(re.fullmatch(page, address) for page in pages)), None
    )


def _bare(address: str) -> str:
    return re.sub(r"^(https?://)?(www\.)?", "", address.casefold()).rstrip("/.,;:")
