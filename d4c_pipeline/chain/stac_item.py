"""`stac_item`: describes a release before its publication: the README and the validated STAC item.

Both become artifacts of the release. The README comes first because the item lists every other file. The checksums of
the files that the plan could not list come last: the plan's list is part of the release's identifier, and these files
name the DOI.
"""

from __future__ import annotations

import json
from typing import Any

from d4c_pipeline.catalogue.stac_item import build_item, item_bytes
from d4c_pipeline.catalogue.validation import validate_item
from d4c_pipeline.chain.copies import add_artifact
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.metadata.readme import README_NAME, readme
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import with_source_words
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import (
    AFTER_ITEM,
    CHECKSUMS_REST_NAME,
    ITEM_NAME,
    ArtifactRole,
    PublishedRelease,
)
from d4c_pipeline.model.secrets import public_address
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.current import current_release, deposit_of, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import checksum_list, read_artifact, release_folder

_REST = frozenset({ArtifactRole.CHECKSUMS, ArtifactRole.TORRENT, ArtifactRole.README, ArtifactRole.METADATA})


def describe(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> dict[str, Any]:
    """Write the README, then build, validate and store the item of the vintage's planned release.

    Returns the item; for a published release, its published item. Raises DataError that names every mismatch when the
    item is not valid STAC.
    """
    ledger = deployment.ledger
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        if isinstance(release, PublishedRelease):
            return _published_item(deployment, release)
        known = ledger.publications.item(release)
        if known is not None and is_settled(deployment, release):
            return known
        torrents = ledger.publications.torrents(release)
        if not torrents:
            raise UnknownNameError(f"{release.name} has no torrent yet", rerun="torrent")
        deposit = deposit_of(deployment, release)
        folder = release_folder(deployment, release.name, dataset.id, str(vintage))
        settings = deployment.settings
        documented = with_source_words(dataset, ledger.natives.description(dataset.id, vintage))
        described = readme(
            documented,
            release,
            deposit,
            torrents,
            publisher=settings.publisher,
            contact=settings.contact,
            sources=[public_address(url) for url in dataset.source.derived_from(vintage)],
        )
        write_file(folder / README_NAME, described)
        release = add_artifact(deployment, release, folder / README_NAME, ArtifactRole.README)
        urls = {
            artifact.name: deployment.primary.url(
                release_address(release.dataset, release.vintage, release.version, artifact.name)
            )
            for artifact in release.artifacts
            if artifact.role not in AFTER_ITEM
        }
        item = build_item(documented, release, deposit, torrents, asset_urls=urls, publisher=settings.publisher)
        validate_item(item)
        write_file(folder / ITEM_NAME, item_bytes(item))
        release = add_artifact(deployment, release, folder / ITEM_NAME, ArtifactRole.METADATA)
        rest = sorted((each for each in release.artifacts if each.role in _REST), key=lambda artifact: artifact.name)
        write_file(folder / CHECKSUMS_REST_NAME, checksum_list(rest))
        add_artifact(deployment, release, folder / CHECKSUMS_REST_NAME, ArtifactRole.CHECKSUMS_REST)
        ledger.publications.record_item(release, item)
        return item


def _published_item(deployment: Deployment, release: PublishedRelease) -> dict[str, Any]:
    """Return the item of a published release; an item missing from the ledger is restored from the release's file."""
    publications = deployment.ledger.publications
    known = publications.item(release)
    if known is not None:
        return known
    file = release.artifact(ArtifactRole.METADATA)
    if file is None:
        raise IntegrityError(
            f"The published release {release.name} has no catalogue item",
            f"Run 'd4c archive adopt {release.dataset}', which takes over what the archive has published",
        )
    item: dict[str, Any] = json.loads(read_artifact(deployment, release, file))
    publications.record_item(release, item)
    return item
