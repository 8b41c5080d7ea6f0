"""The settings of the seeder, read from the environment once, at the door.

Each is one `D4C_` variable, beside those of `model.settings`. The operator's private key is no setting: only the file
that holds it is named here. What is done with them belongs to `torrents.seeder`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from d4c_pipeline.model.errors import PermanentError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(i?)B", re.IGNORECASE)
_INTERFACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+|[a-z][a-z0-9]*):([0-9]+)")
_NODE = re.compile(r"(.+):([0-9]+)")
_LISTEN = "0.0.0.0:6881,[::]:6881"
_METRICS_PORT = 8764


@dataclass(frozen=True)
class FetchPolicy:
    """What a seeder fetches that does not lie in a local store.

    `everything`: all that is offered; else the datasets `datasets`. With a `budget` (bytes), as much of that as fits,
    what has the fewest copies first. The catalogue itself is always fetched, beside any budget.
    """

    everything: bool = False
    datasets: frozenset[str] = frozenset()
    budget: int | None = None


@dataclass(frozen=True)
class SeedingSettings:
    """How the seeder reaches its peers, and what it fetches.

    `listen`: interfaces and ports (D4C_SEED_LISTEN, `0.0.0.0:6881,[::]:6881`). `dht` (D4C_SEED_DHT=0 switches it off),
    `dht_nodes`: where it begins (D4C_SEED_DHT_NODES, `host:port` with commas; unset, libtorrent's own). `lsd`: whether
    peers are looked for in the local network (D4C_SEED_LSD=0: not). `upnp`: whether the router is asked to open the
    port (D4C_SEED_UPNP=1). `upload_limit`, `download_limit`: bytes a second (D4C_SEED_UPLOAD_LIMIT `5MB`, unset: none).
    `metrics_host`, `metrics_port`: where Prometheus asks (D4C_SEED_METRICS_HOST, loopback; D4C_SEED_METRICS_PORT,
    0: nowhere). `refresh`: seconds between two looks at what there is to seed (D4C_SEED_REFRESH). `whitelist`: a file
    that is kept up to date with all v1 info hashes, for a tracker (D4C_TRACKER_WHITELIST). `key_file`: the operator's
    private key (D4C_OPERATOR_KEY; unset, none is used but that of the home). `fetch`: D4C_SEED_FETCH=1 for everything,
    D4C_SEED_DATASETS with commas, D4C_SEED_BUDGET `500GB`.
    """

    listen: str = _LISTEN
    dht: bool = True
    dht_nodes: tuple[tuple[str, int], ...] = ()
    lsd: bool = True
    upnp: bool = False
    upload_limit: int = 0
    download_limit: int = 0
    metrics_host: str = "127.0.0.1"
    metrics_port: int = _METRICS_PORT
    refresh: float = 300.0
    whitelist: Path | None = None
    key_file: Path | None = None
    fetch: FetchPolicy = FetchPolicy()

    @property
    def ports(self) -> frozenset[int]:
        """The ports to listen on; 0 stands for any."""
        return frozenset(int(match[2]) for match in _INTERFACE.finditer(self.listen))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine is listened to: a swarm of tests, or behind a proxy."""
        hosts = [match[1].strip("[]") for match in _INTERFACE.finditer(self.listen)]
        return all(host == "lo" or (_is_address(host) and ip_address(host).is_loopback) for host in hosts)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> SeedingSettings:
        """Read the settings of `environment` (the process's own by default).

        Raises PermanentError when a variable can't be understood.
        """
        env = os.environ if environment is None else environment
        return cls(
            listen=_listen(env.get("D4C_SEED_LISTEN") or _LISTEN),
            dht=_flag(env.get("D4C_SEED_DHT", "1")),
            dht_nodes=tuple(_node(text) for text in _words(env.get("D4C_SEED_DHT_NODES", ""))),
            lsd=_flag(env.get("D4C_SEED_LSD", "1")),
            upnp=_flag(env.get("D4C_SEED_UPNP", "0")),
            upload_limit=byte_count(env.get("D4C_SEED_UPLOAD_LIMIT", "")) or 0,
            download_limit=byte_count(env.get("D4C_SEED_DOWNLOAD_LIMIT", "")) or 0,
            metrics_host=env.get("D4C_SEED_METRICS_HOST") or "127.0.0.1",
            metrics_port=_number("D4C_SEED_METRICS_PORT", env.get("D4C_SEED_METRICS_PORT", ""), _METRICS_PORT, 65535),
            refresh=max(1, _number("D4C_SEED_REFRESH", env.get("D4C_SEED_REFRESH", ""), 300, 86400)),
            whitelist=_path(env.get("D4C_TRACKER_WHITELIST", "")),
            key_file=_path(env.get("D4C_OPERATOR_KEY", "")),
            fetch=fetch_policy(
                everything=_flag(env.get("D4C_SEED_FETCH", "0")),
                datasets=_words(env.get("D4C_SEED_DATASETS", "")),
                budget=byte_count(env.get("D4C_SEED_BUDGET", "")),
            ),
        )


def fetch_policy(*, everything: bool, datasets: Iterable[str], budget: int | None) -> FetchPolicy:
    """Return the policy that an operator means: a budget alone is one for everything."""
    named = frozenset(datasets)
    return FetchPolicy(everything or (budget is not None and not named), named, budget)


def byte_count(text: str) -> int | None:
    """Return the bytes that `text` says (`500GB`, `5 MiB`), None when it is empty. Raises PermanentError for others."""
    if not text.strip():
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise PermanentError(f"'{text}' is no amount of bytes", "Write it as 500GB or 5MiB (D4C_SEED_...)")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " KMGT".index(match[2].upper() or " "))


def _flag(text: str) -> bool:
    return text not in ("", "0", "false", "no")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _listen(text: str) -> str:
    if not all(_INTERFACE.fullmatch(part) for part in _words(text)):
        raise PermanentError(f"D4C_SEED_LISTEN is '{text}'", "Write address:port with commas, such as 0.0.0.0:6881")
    return ",".join(_words(text))


def _node(text: str) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 65536:
        raise PermanentError(f"D4C_SEED_DHT_NODES has '{text}'", "Write host:port with commas")
    return match[1], int(match[2])


def _number(name: str, text: str, default: int, most: int) -> int:
    if not text.strip():
        return default
    if not text.strip().isdecimal() or int(text) > most:
        raise PermanentError(f"{name} is '{text}'", f"Write a whole number from 0 to {most}")
    return int(text)


def _path(text: str) -> Path | None:
    return Path(text.strip()).expanduser().absolute() if text.strip() else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
