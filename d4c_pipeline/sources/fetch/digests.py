"""Digests of a file as it arrives: the digests that headers state, and the running digests compared with them.

Only stated or declared digests are computed here. The chain computes the sha256 of a native file when it retains it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Set
from contextlib import contextmanager
from typing import Any

LARGE = 4 << 20
"""The size from which hashing gets its own thread: it takes as long as receiving."""

_LENGTHS = {"md5": 16, "sha256": 32, "sha512": 64}
_NAMES = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}


def stated(headers: Mapping[str, str]) -> dict[str, str]:
    """Return algorithm -> digest (hex) of the complete file, as headers state it.

    Reads Repr-Digest (RFC 9530), Digest (RFC 3230), Content-MD5 (RFC 1864), x-amz-checksum-sha256 and x-goog-hash.
    Ignores unknown algorithms and values of a wrong length.
    """
    found: dict[str, str] = {}
    for name in ("Repr-Digest", "Digest", "x-goog-hash"):
        for item in headers.get(name, "").split(","):
            algorithm, _, value = item.strip().partition("=")
            found |= _digest(_NAMES.get(algorithm.lower()), value.strip(":"))
    found |= _digest("md5", headers.get("Content-MD5", ""))
    found |= _digest("sha256", headers.get("x-amz-checksum-sha256", ""))
    return found


def _digest(algorithm: str | None, text: str) -> dict[str, str]:
    if algorithm is None or not text:
        return {}
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return {}
    return {algorithm: value.hex()} if len(value) == _LENGTHS[algorithm] else {}


class Running:
    """The digests of the bytes so far; `names` are the algorithms."""

    def __init__(self, names: Set[str] = frozenset()) -> None:
        self.names = names
        # S324 is about secrets; here publishers state the md5 of a file.
        self._hashes: dict[str, Any] = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for each in self._hashes.values():
            each.update(chunk)

    @contextmanager
    def beside(self, *, large: bool) -> Generator[Callable[[bytes], None]]:
        """Yield a function that hashes the next bytes; if `large`, in a thread that finishes before the block ends.

        Writing and hashing then overlap, since both release Python's lock.
        """
        if not large or not self.names:
            yield self.update
            return
        waiting: queue.Queue[bytes | None] = queue.Queue(maxsize=16)

        def work() -> None:
            while (chunk := waiting.get()) is not None:
                self.update(chunk)

        thread = threading.Thread(target=work, name="digests", daemon=True)
        thread.start()
        try:
            yield waiting.put
        finally:
            waiting.put(None)
            thread.join()

    def hexdigest(self, name: str) -> str:
        """Return a digest in hexadecimal."""
        return str(self._hashes[name].hexdigest())

    def differing(self, stated_digests: Mapping[str, str]) -> str | None:
        """Return a description of the stated digests that differ; None if all agree."""
        wrong = [
            f"{name} is {self.hexdigest(name)}, the server states {digest}"
            for name, digest in sorted(stated_digests.items())
            if self.hexdigest(name) != digest
        ]
        return "; ".join(wrong) or None
