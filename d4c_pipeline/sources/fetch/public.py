"""Rules for public IP addresses, and connections restricted to them.

`web.py` decides which requests are restricted: those whose address a redirect or a document of the source states.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from d4c_pipeline.model.errors import SourceError

# Beyond what `ipaddress` calls not global. https://www.iana.org/assignments/iana-ipv4-special-registry
_INNER_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # relays of 6to4
            "168.63.129.16/32",  # Azure answers every machine of its own there
        ),
    )
)
# IPv6: only the allocated public range (2000::/3), without transition mechanisms to IPv4 and documentation ranges.
# https://www.iana.org/assignments/iana-ipv6-special-registry
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_INNER_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet.

    Loopback, private, link-local, shared, reserved and multicast ranges do not, nor do ranges that embed an IPv4
    address in IPv6 (`::127.0.0.1`, 64:ff9b::/96, 6to4, Teredo). A mapped address (`::ffff:1.2.3.4`) counts as IPv4.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed in _PUBLIC_V6 and not any(parsed in network for network in _INNER_V6)
        parsed = parsed.ipv4_mapped
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _INNER_V4)


def public_addresses(host: str, port: int | None, url: str | None = None) -> list[str]:
    """Return the addresses of a host name, all of them public.

    Raises SourceError if an address is not public, and socket.gaierror if the name does not resolve.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        if not is_public(address):
            raise SourceError(
                f"{url or host} resolves to {address}, which is no public address, and the declaration does not state "
                "it (a redirect, or a document of the source, does)",
                "If that is intended, declare private_addresses: true, or the address itself",
            )
    return addresses


def require_public(url: str) -> None:
    """Raise SourceError if the host of `url` resolves to an address that is not public."""
    parts = urlsplit(url)
    public_addresses(parts.hostname or "", parts.port, url)


class _PublicHttpConnection(HTTPConnection):
    """Connects to a checked address: a second resolution of the name may return another address."""

    def _new_conn(self) -> socket.socket:
        name = self._dns_host  # what urllib3 connects to; certificates are checked against the name again
        try:
            addresses = public_addresses(name, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failed: HTTPError | None = None
        for address in addresses:
            self._dns_host = address
            try:
                return super()._new_conn()
            except HTTPError as error:
                failed = error
            finally:
                self._dns_host = name
        raise failed or NewConnectionError(self, f"{name} has no address")


class _PublicHttpsConnection(_PublicHttpConnection, HTTPSConnection):
    """As `_PublicHttpConnection`."""


class PublicHttpPool(HTTPConnectionPool):
    """Connections over http to public addresses."""

    ConnectionCls = _PublicHttpConnection  # pyright: ignore[reportAssignmentType] - as urllib3's own subclasses


class PublicHttpsPool(HTTPSConnectionPool):
    """Connections over https to public addresses."""

    ConnectionCls = _PublicHttpsConnection  # pyright: ignore[reportAssignmentType]
