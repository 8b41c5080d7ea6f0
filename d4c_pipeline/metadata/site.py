"""The deployment that publishes, as the records and documents of its releases name it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from d4c_pipeline.model.addresses import relative_path
from d4c_pipeline.model.settings import PUBLISHER
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True, kw_only=True)
class Site:
    """The deployment that publishes. `base_url`: the public address of the primary store, None without one.

    `page_url`: template of a dataset's page (`{dataset}`, `{vintage}`, `{version}`). `contact`: address of mail or web.
    """

    publisher: str = PUBLISHER
    base_url: str | None = None
    contact: str | None = None
    code_url: str | None = None
    page_url: str | None = None

    def href(self, address: str, document: str) -> str:
        """Return the URL of a store's `address`; without a public address, the path relative to `document`."""
        if self.base_url is not None:
            return f"{self.base_url.rstrip('/')}/{_quoted(address)}"
        return _quoted(relative_path(address, document))

    def page(self, dataset: str, vintage: Vintage, version: Version) -> str | None:
        """Return the page of a release in the portal, None without a portal."""
        place = {"dataset": dataset, "vintage": str(vintage), "version": str(version)}
        return self.page_url.format(**place) if self.page_url else None


@lru_cache(maxsize=4_096)
def _quoted(address: str) -> str:
    return quote(address, safe="/~")
