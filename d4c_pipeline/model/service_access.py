"""The settings of who may use the services, and how fast: sign-in, roles, proxies, rates.

`services.access` applies them. Access to the UI is another matter (`ui_access`).
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import SecretStr, model_validator

from d4c_pipeline.model import secrets
from d4c_pipeline.model.environment import EnvironmentSettings, Flag, OptionalPath, Parser, Positive, Words, variable
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.stores import base_url
from d4c_pipeline.model.ui_access import Network, networks

USUAL_RATE = 600


def _address(name: str, text: str) -> str:
    try:
        return base_url(text.strip())
    except ValueError as error:
        raise PermanentError(f"{name} can't be used: {error}", f"Correct {name}") from None


def _positive(name: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise PermanentError(f"{name} is '{text}'", "Write a whole number from 1 on")
    return int(text)


class ServiceAccess(EnvironmentSettings):
    """Who may use the services. Reading is open; what costs (jobs) can ask for a user."""

    needs_user: Flag = variable("D4C_SERVICES_SIGN_IN", "Jobs of subsets need a signed-in user.", default=False)
    rate: Annotated[int | None, Parser(_positive)] = variable(
        "D4C_SERVICES_RATE",
        "Requests to the protocols that a user, or an address without a user, may send within a minute.",
        unset="600, and no limit on the loopback",
    )
    proxies: Annotated[tuple[Network, ...], Parser(networks)] = variable(
        "D4C_SERVICES_PROXIES",
        "Addresses or networks of proxies, with commas; only from these `X-Forwarded-For` and the user's header count.",
        default=(),
    )
    user_header: Annotated[str | None, Parser(lambda _, text: text.strip().lower())] = variable(
        "D4C_SERVICES_USER_HEADER",
        "The header in which a proxy names the signed-in user; requires `D4C_SERVICES_PROXIES`.",
    )
    specialists: Words = variable("D4C_SERVICES_SPECIALISTS", "Users or mail addresses of specialists.", default=())
    managers: Words = variable(
        "D4C_SERVICES_MANAGERS", "Users or mail addresses of managers, who see and end all jobs.", default=()
    )
    operators: Words = variable(
        "D4C_SERVICES_OPERATORS",
        "Users or mail addresses of operators, who may change something in the UI ([sign-in](operations.md#sign-in)).",
        default=(),
    )
    issuer: Annotated[str | None, Parser(_address)] = variable(
        "D4C_OIDC_ISSUER", "The address of an OpenID Connect provider, without `/.well-known/...`."
    )
    client_id: str | None = variable("D4C_OIDC_CLIENT_ID", "The identity of these services at the provider.")
    client_secret: SecretStr | None = variable(
        "D4C_OIDC_CLIENT_SECRET", "The secret of that identity; never shown, never stored."
    )
    client_secret_file: OptionalPath = variable("D4C_OIDC_CLIENT_SECRET_FILE", "A file that holds the secret instead.")
    roles_claim: str = variable(
        "D4C_OIDC_ROLES",
        "The claim of the provider that lists roles (`specialist`, `manager`, `operator`).",
        default="roles",
    )
    token_days: Positive = variable("D4C_TOKEN_DAYS", "Life of the tokens of scripts.", default=30, unit="days")
    key_file: OptionalPath = variable(
        "D4C_SERVICES_KEY_FILE",
        "The file of the key that signs cookies and tokens; servers behind one address share it.",
        unset="`services/key` of the home",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.user_header is not None and not self.proxies:
            raise PermanentError(
                "D4C_SERVICES_USER_HEADER names a header and D4C_SERVICES_PROXIES no proxy: anybody could send it",
                "Set D4C_SERVICES_PROXIES to the address or network of the proxy",
            )
        if (self.issuer is None) != (self.client_id is None):
            raise PermanentError(
                "D4C_OIDC_ISSUER and D4C_OIDC_CLIENT_ID belong together, and one is not set", "Set both, or none"
            )
        if self.needs_user and self.issuer is None and self.user_header is None:
            raise PermanentError(
                "D4C_SERVICES_SIGN_IN is on, but nobody can sign in",
                "Set D4C_OIDC_ISSUER and D4C_OIDC_CLIENT_ID, or D4C_SERVICES_USER_HEADER",
            )
        return self

    @property
    def usual_rate(self) -> int:
        """Requests within a minute where no rate is set."""
        return USUAL_RATE

    @property
    def signs_in(self) -> bool:
        """Whether users can sign in."""
        return self.issuer is not None or self.user_header is not None

    def is_proxy(self, peer: str) -> bool:
        """Return whether the address `peer` is that of a trusted proxy."""
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.proxies)

    def address_of(self, peer: str, forwarded: str | None) -> str:
        """Return the address of the sender: the last one that no trusted proxy has."""
        address = peer
        for named in reversed((forwarded or "").split(",")[-20:]):
            if not self.is_proxy(address) or not _is_address(named.strip()):
                break
            address = named.strip()
        return address

    def secret(self) -> str | None:
        """Return the secret at the provider, declared secret for this process. Raises PermanentError for no file."""
        text = self.client_secret.get_secret_value() if self.client_secret is not None else ""
        if not text and self.client_secret_file is not None:
            try:
                text = self.client_secret_file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise PermanentError(
                    "The file D4C_OIDC_CLIENT_SECRET_FILE names can't be read", "Check path and rights"
                ) from error
        if not text.strip():
            return None
        secrets.declare(text.strip())
        return text.strip()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
