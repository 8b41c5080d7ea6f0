"""Access to the UI: the settings by which its guard identifies the operator.

`orchestration.ui_guard` applies them. The settings of runs belong to `settings`.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from d4c_pipeline.model.environment import EnvironmentSettings, Parser, variable, words
from d4c_pipeline.model.errors import PermanentError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(variable: str, text: str) -> tuple[Network, ...]:
    """Return the networks of a list with commas. Raises PermanentError for a word that is no address or network."""
    return tuple(_network(variable, word) for word in words(text))


def _network(variable: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise PermanentError(
            f"{variable} has '{text}'", "Write addresses or networks with commas, such as 172.18.0.0/16"
        ) from error


def _origins(variable: str, text: str) -> frozenset[str]:
    return frozenset(_origin(variable, word) for word in words(text))


def _origin(variable: str, text: str) -> str:
    # The message omits the value, because it may contain a password.
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query:
        raise PermanentError(f"{variable} is no address of a page", "Write it as https://d4c.example.ca")
    return f"{parts.scheme}://{parts.netloc}".lower()


class UiAccess(EnvironmentSettings):
    """Which requests to the UI may change something. Without a header and an operator the UI is read-only."""

    origins: Annotated[frozenset[str], Parser(_origins)] = variable(
        "D4C_UI_URL",
        "Public addresses of the UI behind a proxy, with commas; loopback addresses always work.",
        default=frozenset[str](),
    )
    user_header: Annotated[str | None, Parser(lambda _, text: text.strip().lower())] = variable(
        "D4C_UI_USER_HEADER", "The header in which a proxy names the signed-in user; requires `D4C_UI_PROXIES`."
    )
    proxies: Annotated[tuple[Network, ...], Parser(networks)] = variable(
        "D4C_UI_PROXIES", "Addresses or networks whose requests may carry that header, with commas.", default=()
    )
    operator: Annotated[str | None, Parser(lambda _, text: text.strip())] = variable(
        "D4C_UI_OPERATOR",
        "The user of requests where no proxy signs users in; `d4c ui` sets the system's user.",
    )

    @model_validator(mode="after")
    def _header_comes_from_a_proxy(self) -> Self:
        if self.user_header is not None and not self.proxies:
            raise PermanentError(
                "D4C_UI_USER_HEADER names a header and D4C_UI_PROXIES no proxy: anybody could send that header",
                "Set D4C_UI_PROXIES to the address or network of the proxy, such as 172.18.0.1",
            )
        return self

    @property
    def read_only(self) -> bool:
        """Whether no user can sign in."""
        return self.user_header is None and self.operator is None

    def who(self, peer: str | None, named: str | None) -> str | None:
        """Return the user of a request from the address `peer` whose header names `named`; None for no user."""
        if self.user_header is None:
            return self.operator
        try:
            address = ipaddress.ip_address((peer or "").partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None) or address
        return (named or "").strip() or None if any(mapped in network for network in self.proxies) else None
