"""Resumption tokens: signed, and complete in themselves, so that any server with the key continues any list.

A token names the last item of the page, not a number of rows: the list continues right after it, whatever was
published since. The key lies in the home; servers with homes of their own share it as a file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.services.oai.errors import OaiError

_KEY_BYTES, _SIGNATURE_BYTES = 32, 12


@dataclass(frozen=True)
class Position:
    """The end of a page. `verb`: of the list; `size`: of the complete list; `cursor`: items before the next page.

    `after`: modified and id of the last item, or the setSpec of the last set.
    """

    verb: str
    size: int
    cursor: int
    after: tuple[int, str]
    prefix: str = ""
    spec: str | None = None
    first: int | None = None
    last: int | None = None


class Tokens:
    """Writes and reads tokens with the key at `path`, which is made when it does not exist."""

    def __init__(self, path: Path) -> None:
        self._key = _key(path)

    def written(self, position: Position) -> str:
        """Return the token of a position."""
        content = orjson.dumps({name: value for name, value in asdict(position).items() if value is not None})
        return _text(self._signature(content) + content)

    def read(self, token: str, verb: str) -> Position:
        """Return the position of a token of that verb. Raises OaiError with badResumptionToken."""
        refused = OaiError("badResumptionToken", "The token is not one of this repository: begin the list again")
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise refused from error
        signature, content = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if _text(raw) != token or not hmac.compare_digest(signature, self._signature(content)):
            raise refused
        values: dict[str, Any] = orjson.loads(content)  # ours, as the signature shows
        after = values.pop("after")
        position = Position(**values, after=(after[0], after[1]))
        if position.verb != verb:
            raise OaiError("badResumptionToken", f"The token is one of {position.verb}, not of {verb}")
        return position

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _key(path: Path) -> bytes:
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        if not path.exists():
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(part, path)  # another server of this home may make one at the same time: the first stays
            except FileExistsError:
                pass
            finally:
                part.unlink()
        key = path.read_bytes()
    if len(key) < _KEY_BYTES:
        raise PermanentError(f"{path} is not a key of {_KEY_BYTES} bytes", "Delete it: the server makes another")
    return key
