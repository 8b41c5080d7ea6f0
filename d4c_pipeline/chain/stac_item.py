"""`stac_item`: the STAC item of a release out of what is known before publication, validated, one of its artifacts."""

from __future__ import annotations

from typing import Any

from d4c_pipeline.catalogue.stac_item import build_item, item_bytes
from d4c_pipeline.catalogue.validation import validate_item
from d4c_pipeline.chain.copies import add_artifact
from d4c_pipeline.chain.current import current_release, deposit_of, is_settled
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import release_folder, write_file
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.model.vintage import Vintage

ITEM_NAME = "item.json"


def describe(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> dict[str, Any]:
    """Build, validate and store the item of the vintage's planned release; of a published one, return what it has.

    Raises DataError naming every mismatch when the item is not valid STAC.
    """
    ledger = deployment.ledger
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        known = ledger.publications.item(release)
        if known is not None and is_settled(deployment, release):
            return known
        torrent = ledger.publications.torrent(release)
        if torrent is None:
            raise UnknownNameError(f"{release.name} has no torrent yet", "Materialize 'torrent' of this vintage first")
        urls = {
            artifact.name: deployment.primary.url(
                release_address(release.dataset, release.vintage, release.version, artifact.name)
            )
            for artifact in release.artifacts
            if artifact.role is not ArtifactRole.METADATA
        }
        item = build_item(dataset, release, deposit_of(deployment, release), torrent, asset_urls=urls)
        validate_item(item)
        staged = release_folder(deployment, release.name, dataset.id, str(vintage)) / ITEM_NAME
        write_file(staged, item_bytes(item))
        add_artifact(deployment, release, staged, ArtifactRole.METADATA)
        ledger.publications.record_item(release, item)
        return item
