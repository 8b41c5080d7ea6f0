"""The operator's ed25519 key: with its public half anybody finds the newest catalogue without a site.

This module creates, stores and reads the key; signed items belong to `dht_pointer.py`. The private half is in one file
(PKCS #8, PEM) that only its owner can read, and is never shown.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from d4c_pipeline.files.disk import storage_errors, sync_folder
from d4c_pipeline.model.errors import PermanentError

_PUBLIC = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class OperatorKey:
    """A key pair. `public`: 32 bytes; `private`, never shown, signs."""

    public: bytes
    private: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def public_text(self) -> str:
        """The public key as text: 64 hexadecimal digits."""
        return self.public.hex()

    def sign(self, data: bytes) -> bytes:
        """Return the ed25519 signature of `data`: 64 bytes."""
        return self.private.sign(data)


def make_key(path: Path) -> OperatorKey:
    """Create a key, write it to `path` and return it.

    Raises PermanentError if the file exists: readers with the old public key would no longer find the catalogue.
    """
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise PermanentError(f"A key exists at {path}", "Use it, or name another file") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    return read_key(path)


def read_key(path: Path) -> OperatorKey:
    """Return the key in the file at `path`.

    Raises StorageError when the file can't be read, PermanentError when it holds no ed25519 key.
    """
    with storage_errors(f"read {path}"):
        content = path.read_bytes()
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise PermanentError(f"{path} holds no readable private key", "Name the file of 'd4c keys'") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError(f"The key in {path} is not an ed25519 key", "Create one with 'd4c keys --make'")
    return OperatorKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), key)


def public_key(text: str) -> bytes:
    """Return the 32 bytes of a public key in hexadecimal. Raises PermanentError when `text` is none."""
    if _PUBLIC.fullmatch(text.strip().lower()) is None:
        raise PermanentError(f"'{text}' is not a public key", "Write the operator's 64 hexadecimal digits")
    return bytes.fromhex(text.strip())
