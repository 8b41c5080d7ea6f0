"""The seedable files of a deployment's ledger or of a public catalogue.

Seeding belongs to `torrents.seeder`, the periodic refresh to `upkeep.seeding`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.catalogue.item_assets import file_of
from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, snapshot_address, torrent_address
from d4c_pipeline.model.errors import DataError, TransientError
from d4c_pipeline.model.release import Artifact, PublishedRelease, Torrent
from d4c_pipeline.model.secrets import sanitise
from d4c_pipeline.torrents.seeding_policy import Seedable
from d4c_pipeline.torrents.torrent_files import info_hash_of
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.transport.hosts import Hosts
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents
from d4c_pipeline.workspace.staging import read_artifact

_COLUMNS = ("id", "collection", "d4c:info_hash", "d4c:magnet", "d4c:parts", "assets")
_BY_HASH = "urn:btih:"
_TIMEOUT_SECONDS = 20.0


def seedable_in_ledger(deployment: Deployment) -> list[Seedable]:
    """Return every published data file, and the newest states of the catalogue, with the local files of the stores.

    A copy counts as local if the ledger has it as intact and its size is correct; the seeder hashes each piece before
    it sends it. Raises IntegrityError if no copy of a `.torrent` is intact.
    """
    seedable = [_snapshot(deployment, snapshot.address, snapshot.size, snapshot.torrent)
              for snapshot in deployment.ledger.torrents.snapshots()]  # fmt: skip
    for release in deployment.ledger.releases.published():
        torrents = deployment.ledger.publications.torrents(release)
        data = {artifact.name: artifact for artifact in release.data_files}
        for file, torrent in published_torrents(release, torrents):
            artifact = data[file.name.removesuffix(".torrent")]
            seedable.append(_released(deployment, release, artifact, file, torrent))
    return seedable


def _snapshot(deployment: Deployment, address: str, size: int, torrent: Torrent) -> Seedable:
    holding = [store for store in deployment.stores if store.stat(address) == size]
    paths = [path for store in holding if (path := store.local_path(address)) is not None]
    return Seedable(
        info_hash=torrent.info_hash,
        name=PurePosixPath(address).name,
        dataset="",
        size=size,
        copies=len(holding),
        magnet=torrent.magnet,
        torrent=_current(deployment, torrent),
        path=paths[0] if paths else None,
    )


def _released(
    deployment: Deployment, release: PublishedRelease, artifact: Artifact, file: Artifact, torrent: Torrent
) -> Seedable:
    copies = [copy for copy in deployment.ledger.copies.of(release) if copy.artifact == artifact.name and copy.intact]
    stores = {store.name: store for store in deployment.stores}
    deposit = deployment.ledger.deposits.of(release)
    paths = [
        path
        for copy in copies
        if copy.store in stores
        and (path := stores[copy.store].local_path(copy.address)) is not None
        and stores[copy.store].stat(copy.address) == copy.size
    ]
    return Seedable(
        info_hash=torrent.info_hash,
        name=artifact.name,
        dataset=release.dataset,
        size=artifact.size,
        copies=len(copies) + (deposit is not None and artifact.name in deposit.files),
        magnet=torrent.magnet,
        torrent=_current(deployment, torrent) or read_artifact(deployment, release, file),
        path=paths[0] if paths else None,
        vintage=str(release.vintage),
    )


def _current(deployment: Deployment, torrent: Torrent) -> bytes | None:
    """Return the `.torrent` with the current addresses, from the first store that has it."""
    for store in deployment.stores:
        if store.stat(torrent.address) is not None:
            return store.read_bytes(torrent.address)
    return None


def seedable_in_catalogue(path: Path) -> list[Seedable]:
    """Return every data file in the catalogue at `path`. Each web seed of its magnet link counts as a copy.

    Raises DataError if the file is not a catalogue of ours.
    """
    try:
        with storage_errors(f"read {path.name}"):
            rows: list[dict[str, Any]] = pq.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
        raise DataError(f"{path.name} is not a catalogue ({error})", "Give the address of a stac.parquet") from error
    return [entry for row in rows for entry in _seedable_of_row(row)]


def _seedable_of_row(row: dict[str, Any]) -> Iterator[Seedable]:
    assets: dict[str, Any] = {key: asset for key, asset in row["assets"].items() if asset is not None}
    for part in row["d4c:parts"] or ():
        if part["magnet"]:
            yield _seedable(row, part["href"], part["size"], part["magnet"], [part["torrent"]])
    if (data := assets.get("data")) is not None and row["d4c:magnet"]:
        torrent: dict[str, Any] = assets.get("torrent", {})
        archived = ((torrent.get("alternate") or {}).get("archive") or {}).get("href")
        urls = [torrent.get("d4c:current_href"), torrent.get("href"), archived]
        yield _seedable(row, data["href"], data["file:size"], row["d4c:magnet"], urls)


def _seedable(row: dict[str, Any], href: str, size: int, magnet: str, urls: list[str | None]) -> Seedable:
    named = parse_qs(urlsplit(magnet).query)
    hashes = [topic.removeprefix(_BY_HASH) for topic in named.get("xt", []) if topic.startswith(_BY_HASH)]
    return Seedable(
        info_hash=hashes[0] if hashes else row["d4c:info_hash"],
        name=file_of(href),
        dataset=row["collection"],
        size=size,
        copies=len(named.get("ws", [])),
        magnet=magnet,
        torrent_urls=tuple(dict.fromkeys(url for url in urls if url and urlsplit(url).scheme in ("http", "https"))),
    )


class Downloads:
    """Downloads of the catalogue and of torrents for a volunteer, kept in `folder` in case the site disappears.

    A host that does not answer gets no request before the next `forgive`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts = Hosts()
        self._http = http_client(_TIMEOUT_SECONDS)

    def forgive(self) -> None:
        """Send requests to all hosts again."""
        self._hosts.forgive()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def catalogue(self, url: str) -> list[Seedable]:
        """Return the files of the catalogue at `url`, and the catalogue itself if it has a torrent.

        Raises TransientError if it is unavailable, DataError if it is not a catalogue.
        """
        path = self._folder / "catalogue.parquet"
        fresh = path.with_name("catalogue.fresh.parquet")
        write_file(fresh, self._get(url))
        seedable = seedable_in_catalogue(fresh)
        with storage_errors(f"write {path.name}"):
            fresh.replace(path)
        return [*self._itself(url, path), *seedable]

    def last_catalogue(self) -> list[Seedable]:
        """Return the files of the last downloaded catalogue; empty before the first download."""
        path = self._folder / "catalogue.parquet"
        return seedable_in_catalogue(path) if path.is_file() else []

    def torrent(self, entry: Seedable) -> bytes | None:
        """Return the `.torrent` of a file, None if none of its addresses has it. Raises StorageError."""
        kept = self._folder / "torrents" / f"{entry.info_hash}.torrent"
        for url in entry.torrent_urls:
            if not self._hosts.is_well(url):
                continue
            try:
                content = self._get(url)
            except TransientError:  # the next address, or the swarm itself, may have it
                continue
            if info_hash_of(content) == entry.info_hash:
                write_file(kept, content)
                return content
        if not kept.is_file():
            return None
        with storage_errors(f"read {kept.name}"):
            return kept.read_bytes()

    def _itself(self, url: str, path: Path) -> list[Seedable]:
        """Return the catalogue as a seedable file. In the layout of our stores its torrent has a known address."""
        parts = urlsplit(url)
        if not parts.path.endswith(f"/{CATALOGUE_PARQUET}"):
            return []
        name = PurePosixPath(snapshot_address(sha256_of(path))).name
        root = parts.path.removesuffix(CATALOGUE_PARQUET)
        at = parts._replace(path=root + torrent_address(name)).geturl()
        try:
            content = self._get(at)
        except TransientError:  # a site without snapshots, or during a rebuild: seeded after the next refresh
            return []
        info_hash = info_hash_of(content)
        if info_hash is None:
            return []
        with storage_errors(f"read {path.name}"):
            size = path.stat().st_size
        magnet = f"magnet:?xt=urn:btih:{info_hash}"
        return [Seedable(info_hash, name, "", size, 1, magnet, torrent=content)]

    def _get(self, url: str) -> bytes:
        try:
            return self._http.get(url).raise_for_status().content
        except httpx.HTTPStatusError as error:
            raise TransientError(f"{url} answers {error.response.status_code}", "Check that address") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._hosts.record(url, well=False)
            raise TransientError(
                sanitise(f"{url} can't be reached: {error or type(error).__name__}"),
                "Check the address and the network",
            ) from error
