"""Moves an approved release from its hidden addresses to the immutable addresses, right before its publication.

Each file of each store moves by itself and is recorded before and after, so a killed process leaves every file at one
of the two addresses and the next run continues. Putting files at hidden addresses belongs to `copies`.
"""

from __future__ import annotations

from d4c_pipeline.chain.copies import put_artifacts
from d4c_pipeline.chain.torrent import put_current
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import is_hidden, release_address
from d4c_pipeline.model.errors import PermanentError, TransientError
from d4c_pipeline.model.release import PlannedRelease, Release
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline.workspace.current import is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents
from d4c_pipeline.workspace.staging import read_artifact


def is_revealed(deployment: Deployment, release: Release) -> bool:
    """Return whether the ledger has no hidden copy of a release."""
    return not any(is_hidden(copy.address) for copy in deployment.ledger.copies.of(release))


def reveal(deployment: Deployment, release: PlannedRelease, lease: Lease) -> None:
    """Move a release to its immutable addresses in every reachable store, then publish its torrents.

    The web seeds in the torrents are tested last. An unreachable mirror counts as a store without the release until
    `copies` reaches it. Raises what `copies.hold` raises, PermanentError when a web seed serves other bytes,
    TransientError when the primary store's web seed does not answer.
    """
    # A process that lost its lease must not publish any file.
    put_artifacts(deployment, release, release.artifacts, public=True, guard=lease.renew)
    deployment.ledger.copies.forget_hidden(release)
    torrents = deployment.ledger.publications.torrents(release)
    for file, torrent in published_torrents(release, torrents):
        lease.renew()
        put_current(deployment, release, file, torrent)
    if not is_settled(deployment, release):
        _try_web_seeds(deployment, release)


def _try_web_seeds(deployment: Deployment, release: PlannedRelease) -> None:
    """Test the web seeds with the released bytes, which no server showed while the release was hidden."""
    torrents = deployment.ledger.publications.torrents(release)
    own = deployment.settings.embedded_url
    with answering(deployment) as silent:
        for file, torrent in published_torrents(release, torrents):
            name = file.name.removesuffix(".torrent")
            address = release_address(release.dataset, release.vintage, release.version, name)
            pieces = pieces_of(read_artifact(deployment, release, file))
            for store in deployment.stores:
                url = store.url(address)
                if url not in torrent.web_seeds or (silent is not None and url.startswith(own)):
                    continue
                verdict = try_web_seed(url, pieces)
                if verdict.ok:
                    continue
                if not verdict.silent:
                    raise PermanentError(
                        f"{url} {verdict.reason}, and the torrent of {release.name} names it",
                        f"Correct the server of store {store.name}, or leave its address out of the torrent",
                        rerun="torrent",
                    )
                if store is deployment.primary:
                    raise TransientError(
                        f"{url} {verdict.reason}, and the torrent of {release.name} names it",
                        f"Start the server of store {store.name}, then run again",
                    )
