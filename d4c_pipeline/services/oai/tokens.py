"""Resumption tokens: signed, and complete in themselves, so that any server with the key continues any list.

A token names the last item of the page, not a number of rows: the list continues right after it, whatever was
published since. The key is that of the services (`services.signing`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from d4c_pipeline.services.oai.errors import OaiError

_SIGNATURE_BYTES = 12


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
    """Writes and reads tokens that `key` signs."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(f"oai-pmh {key}".encode()).digest()  # no other use has the same signatures

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
