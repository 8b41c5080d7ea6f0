"""The libtorrent session of the seeder: its settings, and the parameters of added torrents.

The choice of torrents and their resume data belong to `seeder.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libtorrent as lt

from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.transport.identity import user_agent

_flags = lt.torrent_flags
# Every torrent is active: a queue would leave most of a collection without a seed.
_FREE = _flags.auto_managed | _flags.paused


def open_session(settings: SeedingSettings) -> Any:
    """Return a session with the listen addresses and the DHT of the settings."""
    category = lt.alert.category_t
    options: Any = {
        "user_agent": user_agent(),
        "listen_interfaces": settings.listen,
        "enable_dht": settings.dht,
        "enable_lsd": settings.lsd,
        "enable_upnp": settings.upnp,
        "enable_natpmp": settings.upnp,
        "webtorrent_stun_server": "",
        "upload_rate_limit": settings.upload_limit,
        "download_rate_limit": settings.download_limit,
        "announce_to_all_trackers": True,
        "announce_to_all_tiers": True,
        "alert_queue_size": 10_000,
        "alert_mask": int(
            category.error_notification | category.storage_notification | category.status_notification
            | category.dht_notification
        ),
    }  # fmt: skip
    if settings.dht_nodes or settings.is_loopback:
        # The configured nodes are ordinary nodes: bootstrap nodes get no requests for items.
        options["dht_bootstrap_nodes"] = ""
    if settings.is_loopback:
        # All nodes share one address: the rules against many nodes per address would exclude them.
        options |= dict.fromkeys(
            ("dht_restrict_routing_ips", "dht_restrict_search_ips", "dht_enforce_node_id",
             "dht_prefer_verified_node_ids", "ssrf_mitigation"), False
        )  # fmt: skip
        options["allow_multiple_connections_per_ip"] = True
    return lt.session(options)


def whole_file(torrent: bytes, path: Path) -> Any:
    """Return the parameters of a torrent whose complete, verified file is at `path`. The file is only read.

    Each piece is hashed at its first request. In upload mode the library never writes: repair belongs to the store.
    """
    parameters = lt.load_torrent_buffer(torrent)
    parameters.save_path = str(path.parent)
    parameters.renamed_files = {0: path.name}
    parameters.flags = (parameters.flags & ~_FREE) | _flags.seed_mode | _flags.upload_mode
    return parameters


def to_fetch(folder: Path, *, torrent: bytes | None, magnet: str, resume: bytes | None) -> Any:
    """Return the parameters of a torrent that is fetched into `folder`, resumed from `resume` if given.

    Raises IntegrityError for an invalid torrent, magnet or resume data.
    """
    try:
        if resume is not None:
            parameters = lt.read_resume_data(resume)
        elif torrent is not None:
            parameters = lt.load_torrent_buffer(torrent)
        else:
            parameters = lt.parse_magnet_uri(magnet)
    except RuntimeError as error:  # raised by the binding for every parser error
        raise IntegrityError(f"Invalid torrent ({error})", "Check the source of the torrent") from error
    parameters.save_path = str(folder)
    parameters.flags &= ~_FREE
    return parameters


def with_addresses(parameters: Any, *, torrent: bytes | None, magnet: str) -> Any:
    """Set the current trackers and web seeds in `parameters`, which resume data may not have."""
    today = lt.load_torrent_buffer(torrent) if torrent is not None else lt.parse_magnet_uri(magnet)
    parameters.trackers, parameters.url_seeds = today.trackers, today.url_seeds
    parameters.flags |= _flags.override_trackers | _flags.override_web_seeds
    return parameters
