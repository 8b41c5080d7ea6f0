"""The messages between a run, the server and the working process.

The run sends a pickle, which is trusted. The working process answers in JSON only: hostile bytes may have taken over
the process, and unpickling its answer would let them into the run.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_ANSWERED = 256 << 20
"""Bytes of an answer. The profile or summary of thousands of parts has a few megabytes."""
_LENGTH = struct.Struct("!Q")
_TOO_LONG = "the answer exceeds its maximum length"


@dataclass(frozen=True)
class Limits:
    """The limits that end the work: `memory` bytes in all its processes, `seconds` since its start."""

    memory: int
    seconds: float


@dataclass(frozen=True)
class Reach:
    """The files that work may access besides Python and system libraries: `readable` paths, `writable` folders.

    `scratch`, an existing folder, is its home and its folder for temporary files. `network`: it may open connections.
    """

    scratch: Path
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: bool = False


@dataclass(frozen=True)
class Request:
    """A piece of work: `call` is the pickle of a function with its arguments."""

    call: bytes
    environment: dict[str, str]
    limits: Limits
    reach: Reach


def send_request(to: socket.socket, request: Request) -> None:
    """Send `request`. Raises OSError when the other side has closed the socket."""
    packed = pickle.dumps(request)
    to.sendall(_LENGTH.pack(len(packed)) + packed)


def receive_request(from_: socket.socket) -> Request | None:
    """Return the next request, None when the other side has closed the socket."""
    head = _exactly(from_, _LENGTH.size)
    packed = _exactly(from_, _LENGTH.unpack(head)[0]) if head is not None else None
    return pickle.loads(packed) if packed is not None else None  # noqa: S301 - from the run that started this process


def send_message(to: socket.socket, message: dict[str, Any]) -> None:
    """Send `message` as JSON. Raises OSError when the other side has closed the socket."""
    packed = json.dumps(message).encode()
    to.sendall(_LENGTH.pack(len(packed)) + packed)


def receive_message(from_: socket.socket) -> dict[str, Any] | None:
    """Return the next message, None when the other side has closed the socket."""
    head = _exactly(from_, _LENGTH.size)
    if head is None:
        return None
    length = _LENGTH.unpack(head)[0]
    if length > 2 * MOST_ANSWERED:
        raise ValueError(_TOO_LONG)
    packed = _exactly(from_, length)
    return json.loads(packed) if packed is not None else None


def _exactly(from_: socket.socket, size: int) -> bytes | None:
    got = bytearray()
    while len(got) < size:
        piece = from_.recv(min(size - len(got), 1 << 20))
        if not piece:
            return None
        got += piece
    return bytes(got)
