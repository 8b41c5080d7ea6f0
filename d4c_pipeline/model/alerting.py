"""The settings of alerts: addresses of people and rooms, as Apprise writes them. They are secrets.

Sending belongs to `upkeep.alerts`. Forms of addresses: https://appriseit.com/services/
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import SecretStr

from d4c_pipeline.model import secrets
from d4c_pipeline.model.environment import EnvironmentSettings, OptionalPath, Parser, variable
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.stores import base_url

_REMEDY = "Write addresses such as mailtos://user:password@example.org?to=ops@example.org, separated by spaces"


def _address(name: str, text: str) -> str:
    try:
        return base_url(text.strip())
    except ValueError as error:
        raise PermanentError(f"{name} can't be used: {error}", f"Correct {name}") from None


class AlertSettings(EnvironmentSettings):
    """Who is told when something needs a person."""

    addresses: SecretStr | None = variable(
        "D4C_ALERTS",
        "Apprise addresses (mail, chat, webhook), separated by spaces; secret, never shown, never stored.",
    )
    addresses_file: OptionalPath = variable("D4C_ALERTS_FILE", "A file that holds the addresses instead, one a line.")
    ui: Annotated[str, Parser(_address)] = variable(
        "D4C_ALERTS_UI", "Address of the UI in front of the links of alerts.", default="http://127.0.0.1:3000"
    )

    def places(self) -> tuple[str, ...]:
        """Return the addresses, declared secret for this process. Raises PermanentError for an unreadable file."""
        text = self.addresses.get_secret_value() if self.addresses is not None else ""
        if not text.strip() and self.addresses_file is not None:
            text = _content(self.addresses_file)
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        found = tuple(dict.fromkeys(" ".join(lines).split()))
        secrets.declare(*found)
        if any("://" not in place for place in found):
            raise PermanentError("D4C_ALERTS has a word that is no address", _REMEDY)
        return found


def _content(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError("The file D4C_ALERTS_FILE names can't be read", "Check path and rights") from error
