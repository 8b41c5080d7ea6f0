"""Writes records and the DuckLake of published releases on demand from the ledger; changes no store and no ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from d4c_pipeline.catalogue.lake import Lake, write_lake
from d4c_pipeline.chain.catalogue import latest_declarations
from d4c_pipeline.chain.published import all_published, dataset_published
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.stores import store_root


def export_record(deployment: Deployment, name: str, release_name: str, declared: Sequence[Dataset] = ()) -> bytes:
    """Return the record of a published release in the format `name`.

    Raises UnknownNameError for an unknown format and for a release that is not published.
    """
    form = record_format(name)
    releases = deployment.ledger.releases.published()
    found = next((release for release in releases if release.name == release_name), None)
    if found is None:
        raise UnknownNameError(f"No release {release_name} is published", "Choose a name that 'd4c releases' lists")
    own = tuple(release for release in releases if release.dataset == found.dataset)
    dataset = latest_declarations(deployment, declared)[found.dataset]
    return form.render(next(each for each in dataset_published(deployment, dataset, own) if each.name == release_name))


def export_lake(deployment: Deployment, path: Path, declared: Sequence[Dataset] = ()) -> Lake:
    """Write the DuckLake of all published releases to `path`; reads only the footers of the data files.

    The lake names the files at the public address of the primary store. Without one it names the files of its folder
    and works on this machine only. Raises PermanentError that names a release whose files can't be read.
    """
    root, public = store_root(deployment.settings), deployment.settings.store_url is not None

    def readable(_release: PublishedMetadata, file: PublishedFile) -> str:
        return str(root / file.address) if root is not None else deployment.primary.url(file.address)

    def address(release: PublishedMetadata, file: PublishedFile) -> str:
        return deployment.primary.url(file.address) if public else readable(release, file)

    published = all_published(deployment, latest_declarations(deployment, declared))
    connection = connect(extensions=("ducklake", "httpfs"))
    try:
        with storage_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            return write_lake(connection, path, published, readable=readable, address=address)
    finally:
        connection.close()
