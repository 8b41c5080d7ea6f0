"""Verifies an HTTP address as a web seed: it fetches pieces and compares their hashes.

A seed that ignores Range or serves other bytes costs every downloader time, so the chain leaves it out of the torrent.
The chain chooses the addresses; this module writes no torrent.
"""

from __future__ import annotations

import hashlib
import random
import time
from contextlib import nullcontext
from dataclasses import dataclass

import httpx

from d4c_pipeline.model.secrets import sanitise
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.transport.clients import http_client

SECONDS_PER_PIECE = 30.0
"""The time that a seed has for each complete piece."""


@dataclass(frozen=True)
class SeedVerdict:
    """Whether a seed serves the right bytes; `reason` describes the check or the failure.

    `silent`: the seed gave no answer or a temporary error (429, 5xx). Its bytes are unknown, and it may recover soon.
    """

    ok: bool
    reason: str
    silent: bool = False


class _BadSeedError(Exception):
    """A failure of the seed; never leaves this module."""


class _SilentSeedError(Exception):
    """An answer of the seed that says nothing about its bytes, or none; never leaves this module."""


def try_web_seed(
    url: str,
    pieces: Pieces,
    *,
    samples: int = 3,
    vary: bool = False,
    client: httpx.Client | None = None,
    timeout: float = SECONDS_PER_PIECE,
) -> SeedVerdict:
    """Fetch the first, the last and `samples` evenly spread pieces from `url` and compare their hashes.

    With `vary` the other pieces are chosen at random each time, so that repeated checks cover all of them. `timeout`:
    seconds for each complete piece. Every failure of the seed or the network ends in a verdict.
    """
    tried = (_drawn if vary else _sample)(pieces.count, samples)
    if not tried:
        return SeedVerdict(False, "the file is empty")
    try:
        with nullcontext(client) if client is not None else http_client(timeout) as http:
            for piece in tried:
                if _fetch(http, url, *pieces.span(piece), pieces.size, timeout) != pieces.sha1_of(piece):
                    return SeedVerdict(False, f"serves other bytes in piece {piece}")
    except _BadSeedError as error:
        return SeedVerdict(False, sanitise(str(error)))
    except _SilentSeedError as error:
        return SeedVerdict(False, sanitise(str(error)), silent=True)
    except httpx.TimeoutException:
        return SeedVerdict(False, f"did not answer within {timeout:g} seconds", silent=True)
    except (httpx.NetworkError, httpx.ProxyError) as error:
        return SeedVerdict(False, sanitise(f"can't be reached: {error or type(error).__name__}"), silent=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return SeedVerdict(False, sanitise(f"can't be reached: {error or type(error).__name__}"))
    return SeedVerdict(True, f"{len(tried)} of {pieces.count} pieces are right")


def _sample(count: int, samples: int) -> list[int]:
    """Return the first, the last and evenly spread pieces of `count`, always the same: a verdict is repeatable."""
    if count == 0:
        return []
    return sorted({(count - 1) * step // (samples + 1) for step in range(samples + 2)})


def _drawn(count: int, samples: int) -> list[int]:
    """Return the first, the last and random other pieces of `count`."""
    return sorted({0, count - 1, *random.sample(range(count), min(samples, count))}) if count else []


def _fetch(http: httpx.Client, url: str, start: int, end: int, size: int, timeout: float) -> bytes:
    """Return the SHA-1 of the bytes that the seed serves for [start, end)."""
    deadline = time.monotonic() + timeout
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{end - 1}"}
    with http.stream("GET", url, headers=headers, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.OK:
            raise _BadSeedError("ignores Range: it answered 200 with the whole file instead of 206")
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise _SilentSeedError(f"answered {answer.status_code} instead of 206")
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            raise _BadSeedError(f"answered {answer.status_code} instead of 206")
        found = answer.headers.get("Content-Range", "")
        if found not in {f"bytes {start}-{end - 1}/{size}", f"bytes {start}-{end - 1}/*"}:
            raise _BadSeedError(f"answered Content-Range '{found[:80]}' instead of 'bytes {start}-{end - 1}/{size}'")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _BadSeedError("sends the file compressed, which no torrent client undoes")
        sha1 = hashlib.sha1(usedforsecurity=False)
        left = end - start
        for block in answer.iter_raw():
            sha1.update(block)
            left -= len(block)
            if left < 0:
                raise _BadSeedError("sends more bytes than requested")
            # httpx's own timeout restarts with every block; a slow response must not delay a publication.
            if time.monotonic() > deadline:
                raise _SilentSeedError(f"did not send a piece within {timeout:g} seconds")
        if left:
            raise _BadSeedError(f"sends {left} bytes fewer than requested")
        return sha1.digest()
