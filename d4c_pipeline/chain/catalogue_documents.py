"""The documents of the catalogue in stores: only documents whose bytes changed are put, many at once.

Here belongs the memory of what each store holds. The documents themselves belong to `catalogued_datasets` and
`catalogue`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment

_AT_ONCE = 1_000  # documents, of about 7 kB each


class Documents:
    """Collects documents and puts them into every store, many in one call."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._state = deployment, deployment.ledger.catalogue
        self._waiting: dict[str, bytes] = {}

    def add(self, documents: Mapping[str, bytes]) -> None:
        """Accept documents by address; they are put now or by a later call."""
        self._waiting |= documents
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Put all waiting documents into every reachable store."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._deployment.spreading.everywhere(lambda store: self.put(waiting, store))

    def put(self, documents: Mapping[str, bytes], store: Store) -> None:
        """Put the documents whose bytes differ from those in the store, the deepest addresses first."""
        digests = {address: hashlib.sha256(content).hexdigest() for address, content in documents.items()}
        held = self._state.documents(store.name, digests)
        changed = {address: digest for address, digest in digests.items() if held.get(address) != digest}
        known, tags = self._state.tags(store.name, changed), dict[str, str | None]()
        # Every link in a document leads to an existing file: collections come after their items.
        for level in sorted({_level(address) for address in changed}):
            contents = {name: documents[name] for name in sorted(changed) if _level(name) == level}
            tags |= store.replace_many(contents, known)
        self._state.remember(store.name, changed, tags)

    def under(self, folder: str) -> set[str]:
        """Return the addresses below a folder at which any store holds a document of the catalogue."""
        return {
            address for store in self._deployment.stores for address in self._state.documents_under(store.name, folder)
        }

    def remove(self, addresses: Collection[str]) -> None:
        """Remove documents from every reachable store that holds them: only what this ledger put there.

        The next rebuild continues where a killed one stopped.
        """
        if addresses:
            self._state.record_stale(addresses)
            self._deployment.spreading.everywhere(lambda store: self._remove(addresses, store))

    def _remove(self, addresses: Collection[str], store: Store) -> None:
        held = sorted(self._state.documents(store.name, addresses))
        for start in range(0, len(held), _AT_ONCE):
            some = held[start : start + _AT_ONCE]
            self._state.intend_removal(store.name, some)
            store.delete(*some)
            self._state.forget_addresses(store.name, some)


def _level(address: str) -> tuple[int, bool]:
    return -address.count("/"), address.endswith(("/collection.json", "/catalog.json"))
