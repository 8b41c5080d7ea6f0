"""The addresses of the portal: paths of pages below its root, and the links that pages may have.

Addresses in a store belong to `model.addresses`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from d4c_pipeline.metadata.published import Tongue
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

ASSETS, PICTURES = "assets", "assets/pictures"
DOCUMENTS = "en/documents.json"
_LINK = re.compile(r"(https?|magnet|mailto):", re.IGNORECASE)


def home(language: Tongue) -> str:
    """Return the address of the home page."""
    return f"{language}/"


def datasets(language: Tongue, page: int = 1) -> str:
    """Return the address of a page of the list of datasets."""
    return f"{language}/datasets/" if page == 1 else f"{language}/pages/{page}/"


def dataset(language: Tongue, name: str) -> str:
    """Return the address of a dataset's page, which shows its newest release."""
    return f"{language}/datasets/{quote(name, safe='')}/"


def release(language: Tongue, name: str, vintage: Vintage | str, version: Version | str) -> str:
    """Return the permanent address of a release's page."""
    return f"{dataset(language, name)}{quote(str(vintage), safe='')}/{quote(str(version), safe='')}/"


def versions(language: Tongue, name: str) -> str:
    """Return the address of the comparison of a dataset's versions."""
    return f"{dataset(language, name)}versions/"


def file_of(address: str) -> str:
    """Return the file of a page below the portal's folder."""
    return unquote(f"{address}index.html" if address.endswith("/") or not address else address)


def link(address: str | None) -> str | None:
    """Return an address that may become a link: http, https, magnet or mailto; None for all others."""
    if address is None or not _LINK.match(address.strip()):
        return None
    return address.strip()


def origin(address: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
