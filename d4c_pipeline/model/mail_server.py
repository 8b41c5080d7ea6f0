"""The address of the mail server of a setting: an Apprise address, in a variable or in a file that it names."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import PermanentError


def mail_server(variable_name: str, stated: SecretStr | None, file: Path | None) -> str | None:
    """Return the address of the mail server, declared secret for this process; None without one.

    `variable_name`: the variable of `stated`; that of `file` has `_FILE` behind it. Raises PermanentError for an
    unreadable file, and for an address that is no mail server.
    """
    text = stated.get_secret_value() if stated is not None else ""
    if not text.strip() and file is not None:
        text = _content(variable_name, file)
    address = text.strip()
    if not address:
        return None
    secrets.declare(address)
    if not address.startswith(("mailto://", "mailtos://")) or len(address.split()) > 1:
        raise PermanentError(
            f"{variable_name} is no address of a mail server",
            "Write it as mailtos://user:password@smtp.example.org?from=data@example.org",
        )
    return address


def _content(variable_name: str, file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"The file {variable_name}_FILE names can't be read", "Check path and rights") from error
