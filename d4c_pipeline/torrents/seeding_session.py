"""The libtorrent session of the seeder: what its settings mean to the library, and how a torrent is added to it.

What is seeded, and what is kept of it, belongs to `seeding`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libtorrent as lt

from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.transport.identity import user_agent

_flags = lt.torrent_flags
# Every torrent takes part, however many there are: a queue would leave most of a collection without a seed.
_FREE = _flags.auto_managed | _flags.paused


def open_session(settings: SeedingSettings) -> Any:
    """Return a session that listens and has its DHT as the settings say."""
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
        # Nodes that are named are nodes like any other: "bootstrap" ones are only asked for others, never for an item.
        options["dht_bootstrap_nodes"] = ""
    if settings.is_loopback:
        # One machine is one address: the rules that keep a stranger from posing as many would leave nobody to talk to.
        options |= dict.fromkeys(
            ("dht_restrict_routing_ips", "dht_restrict_search_ips", "dht_enforce_node_id",
             "dht_prefer_verified_node_ids", "ssrf_mitigation"), False
        )  # fmt: skip
        options["allow_multiple_connections_per_ip"] = True
    return lt.session(options)


def whole_file(torrent: bytes, path: Path) -> Any:
    """Return what adds a torrent whose whole, verified file lies at `path`, which is only ever read.

    Nothing is hashed beforehand: each piece is when it is first asked for. In upload mode the library never writes,
    whatever it finds: a store mends its files by its own rules.
    """
    parameters = lt.load_torrent_buffer(torrent)
    parameters.save_path = str(path.parent)
    parameters.renamed_files = {0: path.name}
    parameters.flags = (parameters.flags & ~_FREE) | _flags.seed_mode | _flags.upload_mode
    return parameters


def to_fetch(folder: Path, *, torrent: bytes | None, magnet: str, resume: bytes | None) -> Any:
    """Return what adds a torrent that is fetched into `folder`, going on from `resume` where there is something.

    Raises IntegrityError when torrent, magnet or resume data are none.
    """
    try:
        if resume is not None:
            parameters = lt.read_resume_data(resume)
        elif torrent is not None:
            parameters = lt.load_torrent_buffer(torrent)
        else:
            parameters = lt.parse_magnet_uri(magnet)
    except RuntimeError as error:  # what the binding makes of every error of its parsers
        raise IntegrityError(f"What should be a torrent is none ({error})", "Look at where it came from") from error
    parameters.save_path = str(folder)
    parameters.flags &= ~_FREE
    return parameters


def with_addresses(parameters: Any, *, torrent: bytes | None, magnet: str) -> Any:
    """Give `parameters` the trackers and web seeds of today, which resume data of yesterday doesn't know."""
    today = lt.load_torrent_buffer(torrent) if torrent is not None else lt.parse_magnet_uri(magnet)
    parameters.trackers, parameters.url_seeds = today.trackers, today.url_seeds
    parameters.flags |= _flags.override_trackers | _flags.override_web_seeds
    return parameters
