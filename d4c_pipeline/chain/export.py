"""Writes records, site documents and the DuckLake of published releases on demand from the ledger.

No store and no ledger changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.catalogue.lake import Lake, write_lake
from d4c_pipeline.catalogue.site_documents import documents
from d4c_pipeline.chain.catalogue import latest_declarations
from d4c_pipeline.chain.catalogued_facts import FactsReader
from d4c_pipeline.chain.published import all_published, dataset_published, site_of
from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.metadata.records.registry import RecordFormat, record_format
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.settings import store_root
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline.workspace.deployment import Deployment

SITE = "site"
"""The name of the documents over all datasets and of each dataset, beside the names of formats."""


def export_record(deployment: Deployment, name: str, release_name: str, declared: Sequence[Dataset] = ()) -> bytes:
    """Return the record of a published release in the format `name`.

    Raises UnknownNameError for an unknown format and for a release that is not published.
    """
    form = record_format(name)
    state = deployment.ledger.catalogue
    owner = state.owners([release_name]).get(release_name)
    if owner is None:
        raise UnknownNameError(f"No release {release_name} is published", "Choose a name that 'd4c releases' lists")
    (listed,) = state.listed([owner])
    wanted = {entry.id for entry in listed if entry.name == release_name}
    reader = FactsReader(deployment, latest_declarations(deployment, declared))
    return form.render(next(dataset_published(deployment, reader, listed, wanted)))


@dataclass(frozen=True)
class Exported:
    """The files in a folder: their number and size in bytes, and release -> error of the releases without a record."""

    folder: Path
    files: int
    bytes: int
    failed: dict[str, D4CError]


def export_folder(deployment: Deployment, name: str, folder: Path, declared: Sequence[Dataset] = ()) -> Exported:
    """Write the records of all published releases in the format `name`, or the site documents (`SITE`), to `folder`.

    Each file has its address in a store below `folder`; an existing file is replaced. A release that the format can't
    hold is left out. Raises UnknownNameError for an unknown format.
    """
    failed: dict[str, D4CError] = {}
    published = all_published(deployment, latest_declarations(deployment, declared))
    if name == SITE:
        made = documents(published, site_of(deployment))
    else:
        made = _records(record_format(name), published, failed)
    files = size = 0
    for address, content in made:
        write_file(folder / address, content)
        files, size = files + 1, size + len(content)
    return Exported(folder, files, size, failed)


def _records(
    form: RecordFormat, published: Iterator[PublishedMetadata], failed: dict[str, D4CError]
) -> Iterator[tuple[str, bytes]]:
    for release in published:
        try:
            content = form.render(release)
        except D4CError as error:
            failed[release.name] = error
            continue
        yield release.record_address(form.file_name), content


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
