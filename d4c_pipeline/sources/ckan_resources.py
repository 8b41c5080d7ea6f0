"""The resources of a CKAN package as portals describe them, in all variants of the fields.

CKAN checks neither format nor language, and harvesters copy what they find. Choosing and fetching resources is
`ckan.py`. Reference: https://docs.ckan.org/en/2.10/api/ ; `resource_create` lists the fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content, so it matches every language
_ONLY_IN_DATASTORE = "_datastore_only_resource"  # CKAN's mark of rows without a file
_LANGUAGES = {
    "eng": "en",
    "english": "en",
    "anglais": "en",
    "fra": "fr",
    "fre": "fr",
    "french": "fr",
    "français": "fr",
    "francais": "fr",
}
_Document = Mapping[str, Any]


@dataclass(frozen=True)
class Resource:
    """A file of a package. `names`: in all languages. `formats` and `languages` are in lower case for comparison.

    `listed`: the portal's hash, date and size of the file, None without any. `active`: False if the portal withdrew
    the resource. `url`: empty if the portal states none.
    """

    id: str
    url: str
    formats: frozenset[str]
    languages: frozenset[str]
    names: tuple[str, ...]
    listed: str | None
    active: bool

    @property
    def label(self) -> str:
        """The resource's name in error messages."""
        kind = min(self.formats, default="no format")
        return f"{self.names[0] if self.names else self.id} ({kind.upper()}){'' if self.active else ', withdrawn'}"


def resources_of(package: _Document, portal: str) -> tuple[Resource, ...]:
    """Return the resources of a package, in the portal's order."""
    listed = cast("list[Any]", package.get("resources") or [])
    return tuple(_resource(cast("_Document", each), portal) for each in listed if isinstance(each, dict))


def language(text: str) -> str:
    """Return a language in comparable form: `en` for `en-CA`, `eng` and `English`."""
    plain = text.strip().casefold()
    return _LANGUAGES.get(plain) or re.split(r"[-_]", plain)[0]


def file_format(text: str) -> str:
    """Return a format in comparable form: `csv` for `CSV`, `.csv` and `text/csv`."""
    return text.strip().casefold().partition(";")[0].strip().rpartition("/")[2].removeprefix(".").removeprefix("x-")


def _resource(document: _Document, portal: str) -> Resource:
    known = str(document.get("id") or "")
    url = _address(document, portal, known)
    stated = [document.get("hash"), document.get("last_modified"), document.get("size")]
    suffix = PurePosixPath(urlsplit(url).path).suffix.removeprefix(".").casefold()
    declared = file_format(str(document.get("format") or ""))
    names = [*_texts(document.get("name_translated")), document.get("name")]
    return Resource(
        id=known,
        url=url,
        formats=frozenset({declared} if declared else {suffix} if suffix else ()),
        languages=frozenset(language(each) for each in _texts(document.get("language"))),
        names=tuple(dict.fromkeys(str(name) for name in names if name)),
        listed=json.dumps(stated) if any(stated) else None,
        active=str(document.get("state") or "active") == "active",
    )


def _address(document: _Document, portal: str, known: str) -> str:
    url = str(document.get("url") or "").strip()
    base = f"{portal.rstrip('/')}/"
    if url.rstrip("/").endswith(_ONLY_IN_DATASTORE) or (not url and document.get("datastore_active")):
        return urljoin(base, f"datastore/dump/{known}")
    if re.match(r"www\.[\w-]+\.", url):
        return f"http://{url}"  # as CKAN's own pages link it
    return urljoin(base, url).partition("#")[0] if url else ""


def _texts(value: Any) -> list[str]:
    """Return the texts of a field: a text, a list of texts, JSON of either in a text, or a text per language."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "{"):
            try:
                return _texts(json.loads(text))
            except ValueError:
                return [text]
        return [each for each in re.split(r"\s*[,;]\s*", text) if each]
    if isinstance(value, Mapping):
        return [str(each) for each in cast("_Document", value).values() if each]
    if isinstance(value, list):
        return [str(each) for each in cast("list[Any]", value) if each]
    return []
