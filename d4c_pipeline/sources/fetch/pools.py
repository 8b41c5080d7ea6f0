"""Connections for `web.py`: pools by proxy, and trusted authorities.

Requests belong to `web.py`, the rules of public addresses to `public.py`.
"""

from __future__ import annotations

import logging
import os
import ssl
import urllib.request
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.sources.fetch.public import PublicHttpPool, PublicHttpsPool

# At DEBUG urllib3 logs complete addresses, and addresses of S3 are signed.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
# X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
_NO_ISSUER = frozenset({20, 21})
_PEEK_SECONDS = 10
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def pools(options: dict[str, Any], secure: bool, proxy: str | None, guarded: bool) -> urllib3.PoolManager:
    """Return a manager of pools. If `guarded`, it refuses to connect to private addresses.

    `secure`: whether the target is https.
    """
    if secure or (proxy or "").startswith("https:"):
        options = {**options, "ssl_context": tls()}
    manager = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
    if guarded and proxy is None:
        manager.pool_classes_by_scheme = {"http": PublicHttpPool, "https": PublicHttpsPool}
    return manager


@cache
def tls() -> ssl.SSLContext:
    """Return the TLS context: authorities of SSL_CERT_FILE and SSL_CERT_DIR if set, else certifi's."""
    context = create_urllib3_context()
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        context.load_default_certs()  # OpenSSL reads these variables itself
    else:
        context.load_verify_locations(certifi.where())
    return context


def require_chain(url: str, error: BaseException) -> None:
    """Raise SourceError if `error`, of a connection to `url`, means that the server's chain is incomplete.

    The server's certificate then states the address of its issuer (authority information access, RFC 5280, 4.2.2.1).
    """
    # Imported here: the import takes a fifth of a second, which other errors don't need.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import AuthorityInformationAccessOID  # noqa: PLC0415

    verify = next((each for each in _causes(error) if isinstance(each, ssl.SSLCertVerificationError)), None)
    if verify is None or getattr(verify, "verify_code", None) not in _NO_ISSUER:
        return
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        certificate = x509.load_pem_x509_certificate(
            ssl.get_server_certificate((host, port), timeout=_PEEK_SECONDS).encode()
        )
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return  # the original error is raised
    at = [
        str(each.access_location.value)
        for each in access
        if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    ]
    if at:
        raise SourceError(
            f"{host} sends its certificate without the intermediate certificate of its issuer "
            f"({certificate.issuer.rfc4514_string()}): its chain is incomplete",
            f"Report it to the publisher; until then append the certificate at {at[0]}, as PEM, to a copy of the file "
            "that 'python -m certifi' prints, and set SSL_CERT_FILE to that copy",
        )


def _causes(error: BaseException | None) -> Iterator[object]:
    while error is not None:
        yield error
        yield from error.args
        error = error.__cause__ or error.__context__


def proxy_of(scheme: str, host: str) -> str | None:
    """Return the address of the proxy that the environment sets for a host; None without one."""
    # The proxy can't reach servers that listen only on this machine.
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")
