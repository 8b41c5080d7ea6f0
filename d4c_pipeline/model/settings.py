"""The settings of a deployment, read from the environment once, at the door.

Each setting is one `D4C_` variable; secrets are read where they are used and never kept here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from d4c_pipeline.model.errors import PermanentError

DEFAULT_PORT = 8763


@dataclass(frozen=True)
class Settings:
    """Where things lie and how they are reached.

    `home`: folder of ledger, store, archive and staging (D4C_HOME, default ./.d4c). `definitions`: folders of datasets
    beside those that are shipped (D4C_DEFS, separated like PATH). `origins`: origin -> origin that serves it instead
    (D4C_ORIGIN_MAP, `https://a=http://b,https://c=http://d`). `store_url`: the public base address of the primary
    store (D4C_STORE_URL; unset, the loopback address that `d4c serve` answers on). `archive_url`: the public
    base address of the local archive (D4C_ARCHIVE_URL; unset, `/archive` of `d4c serve`, or none when the store has an
    address of its own). `port`: of `d4c serve` (D4C_PORT). `ledger_url`: an SQLAlchemy URL (D4C_LEDGER_URL; unset,
    SQLite under the home). `trackers`: announce addresses of torrents (D4C_TRACKERS, commas).
    `hybrid_torrents`: v1+v2 instead of v1 (D4C_TORRENT_HYBRID=1).
    """

    home: Path
    definitions: tuple[Path, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    store_url: str | None = None
    archive_url: str | None = None
    port: int = DEFAULT_PORT
    ledger_url: str | None = None
    trackers: tuple[str, ...] = ()
    hybrid_torrents: bool = False

    @property
    def embedded_url(self) -> str:
        """The loopback address that `d4c serve` answers on."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings of `environment` (the process's own by default).

        Raises PermanentError when a variable can't be understood.
        """
        env = os.environ if environment is None else environment
        return cls(
            home=Path(env.get("D4C_HOME") or ".d4c").expanduser().absolute(),
            definitions=tuple(
                dict.fromkeys(Path(p).expanduser().absolute() for p in env.get("D4C_DEFS", "").split(os.pathsep) if p)
            ),
            origins=_origins(env.get("D4C_ORIGIN_MAP", "")),
            store_url=(env.get("D4C_STORE_URL") or "").rstrip("/") or None,
            archive_url=(env.get("D4C_ARCHIVE_URL") or "").rstrip("/") or None,
            port=_port(env.get("D4C_PORT", "")),
            ledger_url=env.get("D4C_LEDGER_URL") or None,
            trackers=tuple(t.strip() for t in env.get("D4C_TRACKERS", "").split(",") if t.strip()),
            hybrid_torrents=env.get("D4C_TORRENT_HYBRID", "0") not in ("", "0", "false", "no"),
        )


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PermanentError(f"D4C_PORT is '{text}'", "Write a port number from 1 to 65535")
    return int(text)


def _origins(text: str) -> dict[str, str]:
    origins: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        old, separator, new = pair.partition("=")
        if not separator or "://" not in old or "://" not in new:
            raise PermanentError(
                f"D4C_ORIGIN_MAP has '{pair}'",
                "Write origin=origin pairs with commas, such as https://a.ca=http://127.0.0.1:8000",
            )
        origins[old.rstrip("/")] = new.rstrip("/")
    return origins
