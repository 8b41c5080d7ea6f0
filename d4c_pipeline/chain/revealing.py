"""Making an approved release public: from its hidden addresses to the immutable ones, right before it is published.

Each file of each store moves by itself, noted before and after, so that whatever dies leaves every byte at one of the
two addresses and the next run goes on. Putting files where they are hidden belongs to `copies`.
"""

from __future__ import annotations

from d4c_pipeline.chain.copies import put_artifacts
from d4c_pipeline.chain.torrent import put_current
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import is_hidden, release_address
from d4c_pipeline.model.errors import PermanentError, TransientError
from d4c_pipeline.model.release import Release
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline.workspace.current import is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents
from d4c_pipeline.workspace.staging import read_artifact


def is_revealed(deployment: Deployment, release: Release) -> bool:
    """Whether the ledger knows of no copy of a release that is still hidden."""
    return not any(is_hidden(copy.address) for copy in deployment.ledger.copies.of(release))


def reveal(deployment: Deployment, release: Release, lease: Lease) -> None:
    """Move a release to its immutable addresses in every store that can be reached, then put its torrents.

    The addresses of stores that the torrents name as web seeds are tried last. A mirror that is down counts as one that
    does not hold the release, until `copies` reaches it. Raises what `copies.hold` raises, PermanentError when a web
    seed serves something else, TransientError when that of the primary store does not answer.
    """
    release = deployment.ledger.releases.get(release.id)
    # Whoever lost the lease must not make anything public.
    put_artifacts(deployment, release, release.artifacts, public=True, guard=lease.renew)
    deployment.ledger.copies.forget_hidden(release)
    torrents = deployment.ledger.publications.torrents(release)
    for file, torrent in published_torrents(release, torrents):
        lease.renew()
        put_current(deployment, release, file, torrent)
    if not is_settled(deployment, release):
        _try_web_seeds(deployment, release)


def _try_web_seeds(deployment: Deployment, release: Release) -> None:
    """Try what could only be promised while the release was hidden."""
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
                        f"Start what serves store {store.name}, then run again",
                    )
