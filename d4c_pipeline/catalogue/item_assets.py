"""The assets of a release's STAC item: one for each artifact, with its key, roles, size and checksum.

Fields of the item itself belong to `stac_item`, which also lists the fields with the prefix `d4c:`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pystac
from pystac.extensions.file import FileExtension

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import AFTER_ITEM, Artifact, ArtifactRole, Deposit, Release, Torrent

# The roles of an asset; the first is the role that STAC recommends.
_ASSET_ROLES = {
    ArtifactRole.DATA: ["data"],
    ArtifactRole.TILES: ["visual", "tiles"],
    ArtifactRole.DESKTOP: ["data", "desktop"],
    ArtifactRole.THUMBNAIL: ["thumbnail"],
    ArtifactRole.SOURCE: ["source"],
    ArtifactRole.TORRENT: ["torrent"],
}
_DESKTOP_KEYS = {".gpkg": "geopackage", ".fgb": "flatgeobuf", ".csv.gz": "csv"}


def add_assets(
    item: pystac.Item,
    release: Release,
    deposit: Deposit,
    torrents: Mapping[str, Torrent],
    asset_urls: Mapping[str, str],
) -> None:
    """Add every artifact of `release` to its item. Raises DataError when `asset_urls` lacks the address of one."""
    for key, artifact in _keyed(release):
        asset = _asset(artifact, asset_urls, deposit)
        if artifact.role is ArtifactRole.DATA:
            asset.extra_fields |= _part_fields(release, artifact, torrents)
        item.add_asset(key, asset)
        FileExtension.ext(item.assets[key], add_if_missing=True).apply(
            size=artifact.size, checksum=multihash_sha256(artifact.sha256)
        )


def multihash_sha256(digest: str) -> str:
    """Return a sha256 (hex) as the hexadecimal multihash of `file:checksum`: code 0x12, length 0x20."""
    return f"1220{digest}"


def torrent_fields(torrent: Torrent) -> dict[str, Any]:
    """Return the `d4c:` fields of a torrent, for the item or a data asset."""
    return {
        "d4c:info_hash": torrent.info_hash,
        "d4c:info_hash_v2": torrent.info_hash_v2,
        "d4c:magnet": torrent.magnet,
    }


def _keyed(release: Release) -> list[tuple[str, Artifact]]:
    """Return the artifacts under asset keys that do not depend on other files of the release.

    The key is the role (`data`, `tiles`, `profile`), for data in parts and its torrents with the part (`data-pruid-24`,
    `torrent-pruid-24`), for desktop GIS the format (`geopackage`). The item itself and the list with its checksum are
    left out.
    """
    keyed: list[tuple[str, Artifact]] = []
    for artifact in sorted(release.artifacts, key=lambda artifact: artifact.name):
        if artifact.role in AFTER_ITEM:
            continue
        match artifact.role:
            case ArtifactRole.DATA | ArtifactRole.TORRENT:
                part = release.part(artifact)
                key = f"{artifact.role}-{part}" if part else f"{artifact.role}"
            case ArtifactRole.DESKTOP:
                suffix = artifact.name.removeprefix(release.name)
                key = _DESKTOP_KEYS.get(suffix, suffix.strip("._"))
            case _:
                key = f"{artifact.role}"
        keyed.append((key, artifact))
    return keyed


def _part_fields(release: Release, artifact: Artifact, torrents: Mapping[str, Torrent]) -> dict[str, Any]:
    """Return the fields of a part of the data; those of an only file stand in the item."""
    name, torrent = release.part(artifact), torrents.get(artifact.name)
    part = next((part for part in release.summary.parts if part.name == name), None)
    if not name or part is None:
        return {}
    fields = torrent_fields(torrent) if torrent is not None else {}
    bounds = [float(side) for side in part.bounds] if part.bounds else None
    fields |= {"d4c:part": part.name, "d4c:rows": part.rows, "d4c:bounds": bounds}
    return {field: value for field, value in fields.items() if value is not None}


def _asset(artifact: Artifact, asset_urls: Mapping[str, str], deposit: Deposit) -> pystac.Asset:
    href = asset_urls.get(artifact.name)
    if href is None:
        raise DataError(f"No address is known for {artifact.name}", "Copy the release to the primary store first")
    archived = deposit.files.get(artifact.name)
    return pystac.Asset(
        href,
        title=artifact.name,
        media_type=artifact.media_type,
        roles=_ASSET_ROLES.get(artifact.role, ["metadata", str(artifact.role)]),
        extra_fields={"d4c:archive_href": archived} if archived else {},
    )
