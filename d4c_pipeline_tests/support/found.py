"""A server in this process of protocols over a catalogue that `many_datasets` wrote, with its index built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from d4c_pipeline.model.settings import OWN_STORE, Settings
from d4c_pipeline.services import file_server, protocol
from d4c_pipeline.services.catalogue_index import CatalogueIndex
from d4c_pipeline.workspace.stores import opened_stores


@dataclass(frozen=True)
class Served:
    """A client of the protocols, their address, the index that they read, and the folder of the store."""

    client: httpx.Client
    url: str
    index: CatalogueIndex
    store: Path


@contextmanager
def serving(home: Path, port: int, names: Sequence[str]) -> Iterator[Served]:
    """Serve the protocols `names` and the store of `home` at `port`."""
    url = f"http://127.0.0.1:{port}"
    settings = Settings(home=home, services=tuple(names), store_url=url)
    chosen = protocol.chosen(settings)
    index = CatalogueIndex(opened_stores(settings)[0], home / "services", protocol.preparations(chosen))
    index.renew()
    with ExitStack() as lifetime:
        lifetime.callback(index.snapshot.connection.close)
        services = protocol.Services(settings, index, lifetime=lifetime)
        routes = [route for each in chosen for route in each.routes(services)]
        store = home / OWN_STORE
        lifetime.enter_context(file_server.serving({"/": store}, port=port, others=routes))
        client = lifetime.enter_context(httpx.Client(base_url=url, timeout=30))
        yield Served(client, url, index, store)
