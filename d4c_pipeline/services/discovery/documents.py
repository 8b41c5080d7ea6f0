"""Documents of the catalogue in the primary store, for answers that hold them: items and collections.

Links within the store become absolute, since an answer has another address than the document.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from d4c_pipeline.catalogue.item_links import links_elsewhere
from d4c_pipeline.model.addresses import catalogue_collection_address
from d4c_pipeline.model.errors import TransientError, UnknownNameError
from d4c_pipeline.stores.port import Store

_TOGETHER = 8


class Documents:
    """Reads documents of the catalogue from `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers = ThreadPoolExecutor(_TOGETHER, "d4c-documents")

    @property
    def base_url(self) -> str:
        """The public address of the store, without a trailing slash."""
        return self._store.url("catalogue").removesuffix("/catalogue")

    def items(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the items of rows with `dataset`, `vintage`, `version`: absolute links, `self` is the document.

        Raises TransientError when a document is not there (any more).
        """
        return list(self._readers.map(self._item, rows))

    def collections(self, datasets: Sequence[str]) -> list[dict[str, Any]]:
        """Return the collections of datasets, with absolute links, without those to their items.

        Raises TransientError when a document is not there (any more).
        """
        return list(self._readers.map(self._collection, datasets))

    def _item(self, row: dict[str, Any]) -> dict[str, Any]:
        address = f"catalogue/{row['dataset']}/{row['vintage']}/{row['version']}.json"
        item = self._read(address)
        return {**item, "links": links_elsewhere(item, address, self.base_url)}

    def _collection(self, dataset: str) -> dict[str, Any]:
        address = catalogue_collection_address(dataset)
        found = self._read(address)
        folder = f"{self.base_url}/{address}".rpartition("/")[0]
        links = [
            {**link, "href": _absolute(folder, link["href"])}
            for link in found["links"]
            if link["rel"] not in ("item", "self")
        ]
        own = {"rel": "self", "href": f"{self.base_url}/{address}", "type": "application/json"}
        found["links"] = [own, *links]
        for asset in found.get("assets", {}).values():
            asset["href"] = _absolute(folder, asset["href"])
        return found

    def _read(self, address: str) -> dict[str, Any]:
        try:
            return orjson.loads(self._store.read_bytes(address))
        except UnknownNameError as error:
            raise TransientError(
                f"{address} is not in the store, though the catalogue lists it",
                "Ask again when the catalogue is complete",
            ) from error


def _absolute(folder: str, href: str) -> str:
    while href.startswith(("./", "../")):
        if href.startswith("../"):
            folder = folder.rpartition("/")[0]
        href = href.partition("/")[2]
    return href if "://" in href else f"{folder}/{href}"
