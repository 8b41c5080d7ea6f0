"""The settings of the seeder: how it reaches its peers, and which files it fetches.

The operator's private key is not a setting; a setting names only its file. `torrents.seeder` applies the settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from d4c_pipeline.model.environment import EnvironmentSettings, Flag, OptionalPath, Parser, amount, variable, words
from d4c_pipeline.model.errors import PermanentError

_INTERFACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+|[a-z][a-z0-9]*):([0-9]+)")
_NODE = re.compile(r"(.+):([0-9]+)")
_LISTEN = "0.0.0.0:6881,[::]:6881"
_METRICS_PORT = 8764


@dataclass(frozen=True)
class FetchPolicy:
    """The files that a seeder fetches when they are not in a local store.

    `everything`: all published files; otherwise the files of `datasets`. With a `budget` (bytes) the seeder fetches the
    files that fit, those with the fewest copies first. It always fetches the catalogue, which does not count against
    the budget.
    """

    everything: bool = False
    datasets: frozenset[str] = frozenset()
    budget: int | None = None


def fetch_policy(*, everything: bool, datasets: Iterable[str], budget: int | None) -> FetchPolicy:
    """Return the policy that an operator sets; a budget without datasets fetches everything that fits."""
    named = frozenset(datasets)
    return FetchPolicy(everything or (budget is not None and not named), named, budget)


def byte_count(text: str) -> int | None:
    """Return the bytes of `text` (`500GB`, `5 MiB`), None when it is empty. Raises PermanentError for other texts."""
    if not text.strip():
        return None
    if (count := amount(text)) is None:
        raise PermanentError(f"'{text}' is no amount of bytes", "Write it as 500GB or 5MiB (D4C_SEED_...)")
    return count


def _listen(variable: str, text: str) -> str:
    if not all(_INTERFACE.fullmatch(part) for part in words(text)):
        raise PermanentError(f"{variable} is '{text}'", "Write address:port with commas, such as 0.0.0.0:6881")
    return ",".join(words(text))


def _nodes(variable: str, text: str) -> tuple[tuple[str, int], ...]:
    return tuple(_node(variable, word) for word in words(text))


def _node(variable: str, text: str) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 65536:
        raise PermanentError(f"{variable} has '{text}'", "Write host:port with commas")
    return match[1], int(match[2])


def _up_to(most: int) -> Parser:
    def parse(variable: str, text: str) -> int:
        if not text.strip().isdecimal() or int(text) > most:
            raise PermanentError(f"{variable} is '{text}'", f"Write a whole number from 0 to {most}")
        return int(text)

    return Parser(parse)


def _refresh(variable: str, text: str) -> int:
    return max(1, _up_to(86400).parse(variable, text))


def _names(_variable: str, text: str) -> frozenset[str]:
    return frozenset(words(text))


_Bytes = Parser(lambda _, text: byte_count(text))


class SeedingSettings(EnvironmentSettings):
    """How the seeder reaches its peers, and which files it fetches."""

    listen: Annotated[str, Parser(_listen)] = variable(
        "D4C_SEED_LISTEN",
        "Interfaces and ports, with commas; `d4c seed` reports when it listens on none or on another port.",
        default=_LISTEN,
    )
    dht: Flag = variable("D4C_SEED_DHT", "Take part in the DHT.", default=True)
    dht_nodes: Annotated[tuple[tuple[str, int], ...], Parser(_nodes)] = variable(
        "D4C_SEED_DHT_NODES",
        "Nodes that the DHT starts from (`host:port`, commas).",
        default=(),
        unset="those of libtorrent",
    )
    lsd: Flag = variable("D4C_SEED_LSD", "Search for peers in the local network.", default=True)
    upnp: Flag = variable("D4C_SEED_UPNP", "Request the port from the router.", default=False)
    upload_limit: Annotated[int, _Bytes] = variable(
        "D4C_SEED_UPLOAD_LIMIT",
        "Upload rate, such as `5MB`; the local network is exempt.",
        default=0,
        unset="no limit",
        unit="bytes/s",
    )
    download_limit: Annotated[int, _Bytes] = variable(
        "D4C_SEED_DOWNLOAD_LIMIT",
        "Download rate, such as `5MB`; the local network is exempt.",
        default=0,
        unset="no limit",
        unit="bytes/s",
    )
    metrics_host: str = variable("D4C_SEED_METRICS_HOST", "Address of the Prometheus metrics.", default="127.0.0.1")
    metrics_port: Annotated[int, _up_to(65535)] = variable(
        "D4C_SEED_METRICS_PORT", "Port of the Prometheus metrics; 0 serves none.", default=_METRICS_PORT
    )
    refresh: Annotated[float, Parser(_refresh)] = variable(
        "D4C_SEED_REFRESH", "Time between two readings of the list of files on offer.", default=300.0, unit="seconds"
    )
    whitelist: OptionalPath = variable(
        "D4C_TRACKER_WHITELIST", "A file that the seeder keeps up to date with all v1 info hashes, for a tracker."
    )
    key_file: OptionalPath = variable(
        "D4C_OPERATOR_KEY", "The file of the operator's private key.", unset="`keys/operator.pem` of the home"
    )
    fetch_everything: Flag = variable("D4C_SEED_FETCH", "Fetch all files on offer, as `--fetch` does.", default=False)
    fetch_datasets: Annotated[frozenset[str], Parser(_names)] = variable(
        "D4C_SEED_DATASETS",
        "Fetch the files of these datasets, with commas, as `--dataset` does.",
        default=frozenset[str](),
    )
    fetch_budget: Annotated[int | None, _Bytes] = variable(
        "D4C_SEED_BUDGET",
        "Size of all fetched files, such as `500GB`, as `--budget` sets it.",
        unset="no limit",
        unit="bytes",
    )

    @property
    def fetch(self) -> FetchPolicy:
        """The policy of the three fetch settings."""
        return fetch_policy(everything=self.fetch_everything, datasets=self.fetch_datasets, budget=self.fetch_budget)

    @property
    def ports(self) -> frozenset[int]:
        """The ports to listen on; 0 means any port."""
        return frozenset(int(match[2]) for match in _INTERFACE.finditer(self.listen))

    @property
    def is_loopback(self) -> bool:
        """Whether the seeder listens on loopback only: in a test swarm or behind a proxy."""
        hosts = [match[1].strip("[]") for match in _INTERFACE.finditer(self.listen)]
        return all(host == "lo" or (_is_address(host) and ip_address(host).is_loopback) for host in hosts)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
