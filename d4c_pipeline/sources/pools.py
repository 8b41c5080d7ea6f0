"""Connections as `web.py` uses them: pools by proxy, whom to trust, and who must not be connected to.

What is sent over them belongs to `web.py`.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import urllib.request
from functools import cache
from typing import Any

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from d4c_pipeline.model.errors import SourceError

# At DEBUG it writes whole addresses into the log, and those of S3 are signed.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def pools(options: dict[str, Any], secure: bool, proxy: str | None, guarded: bool) -> urllib3.PoolManager:
    """Return a manager of pools; when `guarded`, one that refuses to connect to private addresses.

    `secure`: whether what it connects to is https.
    """
    if secure or (proxy or "").startswith("https:"):
        options = {**options, "ssl_context": tls()}
    manager = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
    if guarded and proxy is None:
        manager.pool_classes_by_scheme = {"http": _PublicHttpPool, "https": _PublicHttpsPool}
    return manager


@cache
def tls() -> ssl.SSLContext:
    """Return whom to trust: SSL_CERT_FILE and SSL_CERT_DIR where they are set, else certifi's authorities."""
    context = create_urllib3_context()
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        context.load_default_certs()  # OpenSSL reads these variables itself
    else:
        context.load_verify_locations(certifi.where())
    return context


def proxy_of(scheme: str, host: str) -> str | None:
    """Return the address of the proxy that the environment names for a host."""
    # A proxy of the environment can't reach what listens on this machine alone.
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")


def require_public(host: str, url: str) -> None:
    """Raise SourceError when a name leads to a private address."""
    for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        _refuse_private(str(address[0]), url)


def _refuse_private(address: str, url: str) -> None:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    if not (mapped or parsed).is_global:
        raise SourceError(
            f"{url} leads to {address}, which is no public address, though it comes out of another's document",
            "If that is meant, declare private_addresses: true",
        )


class _PublicHttpConnection(HTTPConnection):
    """Looks at whom it is connected to before it says anything: names may resolve otherwise the second time."""

    def _new_conn(self) -> socket.socket:
        return _public(super()._new_conn(), self.host)


class _PublicHttpsConnection(HTTPSConnection):
    """As `_PublicHttpConnection`."""

    def _new_conn(self) -> socket.socket:
        return _public(super()._new_conn(), self.host)


class _PublicHttpPool(HTTPConnectionPool):
    ConnectionCls = _PublicHttpConnection  # pyright: ignore[reportAssignmentType] - as urllib3's own subclasses


class _PublicHttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHttpsConnection  # pyright: ignore[reportAssignmentType]


def _public(connection: socket.socket, host: str) -> socket.socket:
    try:
        _refuse_private(str(connection.getpeername()[0]), host)
    except SourceError:
        connection.close()
        raise
    return connection
