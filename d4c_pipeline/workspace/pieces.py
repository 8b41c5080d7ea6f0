"""Piece hashes of data artifacts, kept beside the staged file by `checksums`, so that `torrent` need not read it.

After publication the `.torrent` files of the release have them. Computing them belongs to `torrents.pieces`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.release import Artifact, Release, Torrent
from d4c_pipeline.torrents.pieces import Pieces, hash_pieces, piece_size_for
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path, read_artifact, release_folder, write_json


def keep_pieces(path: Path, artifact: Artifact, pieces: Pieces) -> None:
    """Write the pieces of the staged file at `path` beside it, with the sha256 of the hashed bytes."""
    write_json(_beside(path), {"sha256": artifact.sha256, **pieces.to_json()})


def staged_pieces(deployment: Deployment, release: Release, artifact: Artifact) -> Pieces:
    """Return the pieces of a data artifact; they are hashed again only if no matching pieces are staged.

    That is the case after staging was lost, or after a change to or from hybrid torrents. Raises what `artifact_path`
    raises.
    """
    hybrid = deployment.settings.hybrid_torrents
    folder = release_folder(deployment, release.name, release.dataset, str(release.vintage))
    kept = _beside(folder / artifact.name)
    if kept.is_file():
        with storage_errors(f"read {kept.name}"):
            value = json.loads(kept.read_bytes())
        pieces = Pieces.from_json(value)
        fitting = (value["sha256"], pieces.piece_size, pieces.root is not None)
        if fitting == (artifact.sha256, piece_size_for(artifact.size), hybrid):
            return pieces
    return hash_pieces(artifact_path(deployment, release, artifact), hybrid=hybrid)


def published_torrents(release: Release, torrents: Mapping[str, Torrent]) -> Iterator[tuple[Artifact, Torrent]]:
    """Yield the `.torrent` files of a release, each with its row in the ledger."""
    artifacts = {artifact.name: artifact for artifact in release.artifacts}
    for name, torrent in torrents.items():
        if (file := artifacts.get(f"{name}.torrent")) is not None:
            yield file, torrent


def published_pieces(deployment: Deployment, release: Release) -> dict[str, Pieces]:
    """Return the piece hashes of the data files by name, from the torrents of the release."""
    torrents = deployment.ledger.publications.torrents(release)
    return {
        file.name.removesuffix(".torrent"): pieces_of(read_artifact(deployment, release, file))
        for file, _ in published_torrents(release, torrents)
    }


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.pieces.json")
