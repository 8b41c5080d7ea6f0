"""The factory of HTTP clients: time-outs, User-Agent, trusted authorities and proxies are set here for all rooms.

The client for sources, which moves files at twice the speed on urllib3, is `sources.fetch`; requests to a JSON service
are `transport.rest`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import cache

import httpx

from d4c_pipeline.transport.identity import user_agent
from d4c_pipeline.transport.patience import Patience

# A proxy of the environment can't reach the loopback interface of this machine.
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def http_client(
    timeouts: Patience | float,
    *,
    headers: Mapping[str, str] | None = None,
    follow_redirects: bool = True,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Return a client that names us and accepts only uncompressed answers; the caller closes it.

    `timeouts`: those of a `Patience`, or seconds for each of connecting, reading and writing. `headers` are added to
    every request. `transport` replaces the network.
    """
    if isinstance(timeouts, Patience):
        limits = httpx.Timeout(timeouts.read_timeout, connect=timeouts.connect_timeout)
    else:
        limits = httpx.Timeout(timeouts)
    return httpx.Client(
        headers={"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})},
        timeout=limits,
        follow_redirects=follow_redirects,
        transport=transport,
        verify=_trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        mounts={f"all://{host}": None for host in _LOOPBACK},
    )


@cache
def _trusted(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    # Kept, because reading the authorities takes longer than many a request; httpx reads both variables itself.
    return httpx.create_ssl_context()
