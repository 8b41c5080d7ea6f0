"""What tests of sources ask of what `fetch` returned."""

from __future__ import annotations

import hashlib
from pathlib import Path

from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.sources.port import Arrived, Fetched


def path_of(one: Fetched) -> Path:
    """Where a file lies that must have arrived."""
    assert isinstance(one, Arrived), f"{one} was not fetched"
    return one.path


def sha256_of(one: Fetched) -> str:
    """The sha256 of the bytes that arrived."""
    return hashlib.sha256(path_of(one).read_bytes()).hexdigest()


def retained(one: Fetched) -> NativeFile:
    """A file that arrived, as it is known when it was retained."""
    assert isinstance(one, Arrived), f"{one} was not fetched"
    return one.native(sha256_of(one))
