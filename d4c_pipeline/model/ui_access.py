"""Who may use the UI: the settings by which its guard knows the operator, read from the environment.

What the guard does with them belongs to `orchestration.ui_guard`; settings of runs belong to `settings`.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from d4c_pipeline.model.errors import PermanentError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class UiAccess:
    """How requests to the UI are judged.

    `origins`: public origins of the UI behind a proxy (D4C_UI_URL, commas); loopback addresses are always answered.
    `user_header`: the header in which a proxy names who signed in (D4C_UI_USER_HEADER). `proxies`: the networks whose
    requests may carry it (D4C_UI_PROXIES, commas; required with it). `operator`: who acts where no proxy
    signs anybody in (D4C_UI_OPERATOR; `d4c ui` sets the user of the system). With neither header nor operator the UI is
    read-only.
    """

    origins: frozenset[str] = frozenset()
    user_header: str | None = None
    proxies: tuple[Network, ...] = ()
    operator: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> UiAccess:
        """Read the settings; raises PermanentError when a variable can't be understood."""
        env = os.environ if environment is None else environment
        header = env.get("D4C_UI_USER_HEADER", "").strip().lower() or None
        proxies = tuple(_network(text) for text in _listed(env.get("D4C_UI_PROXIES", "")))
        if header is not None and not proxies:
            raise PermanentError(
                "D4C_UI_USER_HEADER names a header and D4C_UI_PROXIES no proxy: anybody could send that header",
                "Set D4C_UI_PROXIES to the address or network of the proxy, such as 172.18.0.1",
            )
        origins = frozenset(_origin(text) for text in _listed(env.get("D4C_UI_URL", "")))
        return cls(origins, header, proxies, env.get("D4C_UI_OPERATOR", "").strip() or None)

    @property
    def read_only(self) -> bool:
        """Say whether nobody can sign in."""
        return self.user_header is None and self.operator is None

    def who(self, peer: str | None, named: str | None) -> str | None:
        """Return who signed in for a request of the address `peer` whose header says `named`; None for nobody."""
        if self.user_header is None:
            return self.operator
        try:
            address = ipaddress.ip_address((peer or "").partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None) or address
        return (named or "").strip() or None if any(mapped in network for network in self.proxies) else None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise PermanentError(
            f"D4C_UI_PROXIES has '{text}'", "Write addresses or networks with commas, such as 172.18.0.0/16"
        ) from error


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query:
        raise PermanentError("D4C_UI_URL is no address of a page", "Write it as https://d4c.example.ca")
    return f"{parts.scheme}://{parts.netloc}".lower()
