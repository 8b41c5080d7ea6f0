"""Signed cookies and tokens of users: nothing is stored, any server with the same key reads them.

The key lies in the home, or in the file of `D4C_SERVICES_KEY_FILE` that several servers share. A new key ends all
sessions and tokens.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import PermanentError

SESSION_SECONDS = 8 * 3_600
LOGIN_SECONDS = 600
_KEY_CHARACTERS = 32


class Signer:
    """Writes and reads signed facts. `token_days`: the life of a script's token."""

    def __init__(self, key: str, token_days: int) -> None:
        self._token_seconds = token_days * 86_400
        self._session, self._token, self._login = (
            URLSafeTimedSerializer(key, salt=f"d4c-{use}") for use in ("session", "token", "login")
        )

    def written_session(self, facts: dict[str, Any]) -> str:
        """Return the cookie of a signed-in user."""
        return str(self._session.dumps(facts))

    def session(self, text: str) -> dict[str, Any] | None:
        """Return the facts of a cookie, None for one that is not ours or too old."""
        return _read(self._session, text, SESSION_SECONDS)

    def written_token(self, facts: dict[str, Any]) -> str:
        """Return the token of a user's scripts."""
        return str(self._token.dumps(facts))

    def token(self, text: str) -> dict[str, Any] | None:
        """Return the facts of a token, None for one that is not ours or too old."""
        return _read(self._token, text, self._token_seconds)

    def written_login(self, facts: dict[str, Any]) -> str:
        """Return the cookie of a sign-in on its way."""
        return str(self._login.dumps(facts))

    def login(self, text: str) -> dict[str, Any] | None:
        """Return the facts of a sign-in on its way, None after ten minutes."""
        return _read(self._login, text, LOGIN_SECONDS)


def _read(serializer: URLSafeTimedSerializer, text: str, seconds: int) -> dict[str, Any] | None:
    try:
        return serializer.loads(text, max_age=seconds)
    except BadData:
        return None


def signing_key(file: Path) -> str:
    """Return the key in `file`, which is made when it does not exist. Raises PermanentError for a short key."""
    with storage_errors(f"write {file.name}"):
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            making = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
            descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_urlsafe(48))
            try:
                os.link(making, file)  # another server may have been first
            except FileExistsError:
                pass
            finally:
                making.unlink()
        key = file.read_text("utf-8").strip()
    if len(key) < _KEY_CHARACTERS:
        raise PermanentError(f"The key in {file.name} has {len(key)} characters", "Write 32 or more random ones")
    return key
