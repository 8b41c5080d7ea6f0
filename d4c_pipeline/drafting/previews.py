"""Previews of the records of an edited definition, in every format, before anything is saved or released.

The facts of data, files and DOI are those of the newest published release; before the first one they are examples with
a DOI of the test prefix. The records themselves belong to `metadata.records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.metadata.mapping import published_metadata
from d4c_pipeline.metadata.records.registry import record_formats
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Change,
    Column,
    DataSummary,
    Deposit,
    DepositState,
    PublishedRelease,
    release_key,
)
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

_MOST = 60_000  # characters of a record that a page shows
_EXAMPLE_DOI = "10.5072/example"  # DataCite's prefix for tests
_NO_MD5, _NO_SHA256 = "0" * 32, "0" * 64


@dataclass(frozen=True)
class Preview:
    """A record of the edited definition. `problem`: why the format can't hold it, with the remedy."""

    name: str
    title: str
    media_type: str
    text: str = ""
    problem: str | None = None
    is_cut: bool = False


def previews(dataset: Dataset, ledger: Ledger, settings: Settings) -> tuple[Sequence[Preview], bool]:
    """Return a preview of each format, by name, and whether the facts of the data are examples.

    Raises PermanentError for metadata that no record may contain.
    """
    found = ledger.releases.published(dataset.id)
    release = max(found, key=lambda each: (each.vintage, each.version)) if found else _example(dataset)
    deposit = ledger.deposits.of(release) if found else None
    site = Site(
        publisher=settings.publisher,
        base_url=settings.store_url,
        contact=settings.contact,
        code_url=settings.code_url,
        page_url=settings.page_url,
    )
    published = published_metadata(dataset, release, deposit or _example_deposit(), site)
    shown: list[Preview] = []
    for form in record_formats().values():
        try:
            text = form.render(published).decode("utf-8")
        except D4CError as error:
            shown.append(Preview(form.name, form.title, form.media_type, problem=str(error)))
        else:
            shown.append(Preview(form.name, form.title, form.media_type, text[:_MOST], is_cut=len(text) > _MOST))
    return shown, not found


def _example(dataset: Dataset) -> PublishedRelease:
    fixed = dataset.fixed_vintages
    now = datetime.now(UTC)
    vintage = fixed[-1] if fixed else Vintage.parse(f"{now:%Y-%m-%d}")
    version = Version.read(dataset.publication.initial_version)
    name = str(dataset.release_name(vintage, version))
    files = (Artifact(f"{name}.parquet", ArtifactRole.DATA, 0, _NO_MD5, _NO_SHA256, "application/vnd.apache.parquet"),)
    columns = tuple(
        Column(
            name,
            getattr(column, "type", None) or "string",
            description_en=column.description.en if column.description else None,
            description_fr=column.description.fr if column.description else None,
        )
        for name, column in dataset.processing.columns.items()
    )
    bounds = dataset.extent.bounds if dataset.extent else None
    return PublishedRelease(
        id=0,
        dataset=dataset.id,
        vintage=vintage,
        version=version,
        name=name,
        key=release_key(dataset.id, vintage, version, files),
        change=Change(Bump.NONE, ()),
        summary=DataSummary(0, columns, tuple(dataset.processing.key), None, bounds, (), {}),
        artifacts=files,
        planned_at=now,
        published_at=now,
    )


def _example_deposit() -> Deposit:
    return Deposit(0, "local", DepositState.DOI_RESERVED, None, None, _EXAMPLE_DOI, None, True, None, {})
