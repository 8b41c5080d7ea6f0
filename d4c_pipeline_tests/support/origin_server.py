"""A local origin server that misbehaves as told: what the fault matrix and its benchmark fetch from.

The documents of each protocol are served well; the behaviour is that of the data file, for its first requests.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import ssl
import struct
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

DATE = "Sat, 04 May 2024 23:30:00 GMT"
PAGE = b"<!DOCTYPE html><html><body>Service unavailable / non disponible</body></html>"
CUT = 300_000


@cache
def payload(seed: int = 1) -> bytes:
    """A zip of 700 kB that can't be packed further, always the same for a seed."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("data.csv", (2024, 5, 4, 0, 0, 0)), random.Random(seed).randbytes(700_000))
    return buffer.getvalue()


@dataclass
class Asked:
    """One request for the data file: its headers and how many bytes of body were sent."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


Behaviour = Callable[["Handler", int], None]


class Handler(BaseHTTPRequestHandler):
    """Documents by exact path, everything else by the behaviour of the data file."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    origin: Origin

    def do_GET(self) -> None:
        self._go()

    def do_HEAD(self) -> None:
        self._go()

    def do_POST(self) -> None:
        self.form = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._go()

    def log_message(self, *_: object) -> None: ...

    def _go(self) -> None:
        vars(self).pop("asked", None)  # of the request before on this connection
        parts = urlsplit(self.path)
        document = self.origin.documents.get(parts.path)
        if document is not None:
            self.origin.requests += 1
            answer = document(self) if callable(document) else document
            if answer is None:  # the document answered by itself
                return
            self.reply(200, json.dumps(answer).encode(), Content_Type="application/json")
            return
        if self.command == "HEAD":
            self.whole()
            return
        self.behave()

    def behave(self) -> None:
        """Answer as the origin is told to, and take note of it."""
        self.asked = Asked(self.command, self.path, {name.title(): text for name, text in self.headers.items()})
        with self.origin.lock:
            self.origin.asked.append(self.asked)
            number = len(self.origin.asked)
        self.origin.behaviour(self, number)

    # What behaviours are made of.

    @property
    def body(self) -> bytes:
        return self.origin.body

    def start(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()

    def send(self, data: bytes) -> None:
        if self.command == "HEAD":
            return
        if hasattr(self, "asked"):
            self.asked.sent += len(data)  # before it goes out: the client may be done before this thread goes on
        self.wfile.write(data)
        self.wfile.flush()

    def reply(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.start(code, Content_Length=str(len(body)), **headers)
        self.send(body)

    def whole(self, **headers: str) -> None:
        """The file as a good server sends it: with validators and ranges."""
        known = {"ETag": self.origin.etag, "Last_Modified": DATE, "Accept_Ranges": "bytes"}
        known |= {"Content_Type": "application/zip", **headers}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.origin.etag) in (self.origin.etag, DATE)
        if self.headers.get("If-None-Match") == self.origin.etag:
            self.reply(304, **known)
        elif asked is not None and same:
            first = int(asked[1])
            last = min(int(asked[2] or len(self.body) - 1), len(self.body) - 1)
            if first > last:
                self.reply(416, Content_Range=f"bytes */{len(self.body)}")
                return
            span = f"bytes {first}-{last}/{len(self.body)}"
            self.reply(206, self.body[first : last + 1], Content_Range=span, **known)
        else:
            self.reply(200, self.body, **known)

    def part(self, size: int, *, length: int | None = None, **headers: str) -> None:
        """The beginning of the file, and no more."""
        self.start(
            200,
            Content_Length=str(len(self.body) if length is None else length),
            **{"ETag": self.origin.etag, "Last_Modified": DATE, "Content_Type": "application/zip", **headers},
        )
        self.send(self.body[:size])
        self.close_connection = True

    def reset(self) -> None:
        """End the connection as a crashed host does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


@dataclass
class Origin:
    """The running server: its address, what it serves, what was asked of the data file."""

    behaviour: Behaviour
    body: bytes = field(default_factory=payload)
    etag: str = '"v1"'
    documents: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    requests: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sent(self) -> int:
        """Bytes of body of the data file, over all requests."""
        return sum(each.sent for each in self.asked)


@contextmanager
def serving(origin: Origin, *, tls: ssl.SSLContext | None = None, ipv6: bool = False) -> Iterator[Origin]:
    """Serve `origin` on a free port of the loopback until the block ends."""
    handler = type("Scripted", (Handler,), {"origin": origin})
    kind = type("Server", (ThreadingHTTPServer,), {"address_family": socket.AF_INET6 if ipv6 else socket.AF_INET})
    with kind(("::1" if ipv6 else "127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # clients go away, that is what is tested
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        host = "[::1]" if ipv6 else "127.0.0.1"
        origin.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{server.server_port}"
        try:
            yield origin
        finally:
            server.shutdown()
            thread.join()


# Behaviours: of the first requests for the file; then the server has recovered.


def good(handler: Handler, _: int) -> None:
    handler.whole()


def once(fault: Callable[[Handler], None]) -> Behaviour:
    def behaviour(handler: Handler, number: int) -> None:
        fault(handler) if number == 1 else handler.whole()

    return behaviour


def stalls(handler: Handler) -> None:
    handler.part(CUT)
    time.sleep(1.5)


def resets(handler: Handler) -> None:
    handler.part(CUT)
    time.sleep(0.05)  # or what was sent is lost with the reset
    handler.reset()


def chunked_and_cut(handler: Handler) -> None:
    handler.start(200, Transfer_Encoding="chunked", ETag=handler.origin.etag, Content_Type="application/zip")
    handler.wfile.write(b"%x\r\n" % CUT)
    handler.send(handler.body[:CUT])
    handler.wfile.write(b"\r\n")
    handler.close_connection = True


def without_length_and_cut(handler: Handler) -> None:
    handler.start(200, Connection="close", Content_Type="application/zip")
    handler.send(handler.body[:CUT])
    handler.close_connection = True


def ignores_range(handler: Handler, number: int) -> None:
    if number == 1:
        handler.part(CUT)
    else:
        handler.reply(200, handler.body, ETag=handler.origin.etag)


def wrong_range(handler: Handler, number: int) -> None:
    if number == 1:
        handler.part(CUT)
    elif number == 2:
        span = f"bytes 1000-{len(handler.body) - 1}/{len(handler.body)}"
        handler.reply(206, handler.body[1000:], Content_Range=span, ETag=handler.origin.etag)
    else:
        handler.whole()


def refuses_range(handler: Handler, number: int) -> None:
    if number == 1:
        handler.part(CUT)
    elif "Range" in handler.headers:
        handler.reply(416, Content_Range=f"bytes */{len(handler.body)}")
    else:
        handler.whole()


def changes(handler: Handler, number: int) -> None:
    if number == 1:
        handler.part(CUT)
        handler.origin.body, handler.origin.etag = payload(2), '"v2"'
    else:
        handler.whole()


def changes_and_lies(handler: Handler, number: int) -> None:
    if number == 1:
        handler.part(CUT)
        handler.origin.body, handler.origin.etag = payload(2), '"v2"'
    elif "Range" in handler.headers:  # sends the range of the new file all the same
        span = f"bytes {CUT}-{len(handler.body) - 1}/{len(handler.body)}"
        handler.reply(206, handler.body[CUT:], Content_Range=span, ETag='"v2"')
    else:
        handler.whole()


def busy(code: int, **headers: str) -> Behaviour:
    return once(lambda handler: handler.reply(code, b"later", **headers))


def busy_until(handler: Handler, number: int) -> None:
    if number == 1:
        moment = datetime.now(UTC) + timedelta(seconds=1)
        handler.reply(429, b"later", Retry_After=format_datetime(moment, usegmt=True))
    else:
        handler.whole()


def drips(handler: Handler, number: int) -> None:
    """So slow that the whole time is over, though never silent; then well."""
    if number > 1:
        handler.whole()
        return
    handler.part(CUT)
    handler.close_connection = True
    for begin in range(CUT, len(handler.body), 1000):
        handler.send(handler.body[begin : begin + 1000])
        time.sleep(0.1)


def cuts_again_and_again(handler: Handler, _: int) -> None:
    """A line that breaks every 100 kB."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    first = int(asked[1]) if asked else 0
    span = f"bytes {first}-{len(handler.body) - 1}/{len(handler.body)}"
    headers = {"Content_Range": span} if asked else {}
    left = str(len(handler.body) - first)
    handler.start(206 if asked else 200, Content_Length=left, ETag=handler.origin.etag, **headers)
    handler.send(handler.body[first : first + 100_000])
    handler.close_connection = True


def loops(handler: Handler, _: int) -> None:
    handler.reply(302, Location=handler.path)


def shows_a_page(handler: Handler, _: int) -> None:
    handler.reply(200, PAGE, Content_Type="text/html; charset=utf-8")


def shows_a_page_as_zip(handler: Handler, _: int) -> None:
    handler.reply(200, PAGE, Content_Type="application/zip")


def packs(handler: Handler, _: int) -> None:
    packed = gzip.compress(handler.body, mtime=0)
    handler.reply(200, packed, Content_Encoding="gzip", Content_Type="application/zip")


def is_gone(handler: Handler, _: int) -> None:
    handler.reply(404, b"not here")


def states_digest(handler: Handler, number: int) -> None:
    """A byte is broken on the way, which only the stated digest tells."""
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(handler.body).digest()).decode()
    body = bytearray(handler.body)
    if number == 1:
        body[len(body) // 2] ^= 1
    handler.reply(200, bytes(body), Repr_Digest=f"sha-256=:{digest}:", ETag=handler.origin.etag)


def parameters(handler: Handler) -> dict[str, str]:
    """Those of the address and of a form."""
    text = urlsplit(handler.path).query + "&" + getattr(handler, "form", b"").decode()
    return {name: values[-1] for name, values in parse_qs(text).items()}


def private_authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate authority of our own and a server context for `localhost`; the path is the authority's."""
    root, signer, authority = _certificate("Test authority", folder / "authority.pem", ca=True)
    return _tls_of(folder, root, signer, None), authority


def incomplete_chain(folder: Path, issuer_at: str) -> tuple[ssl.SSLContext, Path, Path]:
    """A server that does not send its intermediate certificate; the paths are the root's and the intermediate's."""
    root, signer, authority = _certificate("Test root", folder / "root.pem", ca=True)
    middle, key, between = _certificate("Test intermediate", folder / "intermediate.pem", (root, signer), ca=True)
    return _tls_of(folder, middle, key, issuer_at), authority, between


def _tls_of(folder: Path, issuer: Any, signer: Any, issuer_at: str | None) -> ssl.SSLContext:
    from cryptography.hazmat.primitives import serialization

    _, key, path = _certificate("localhost", folder / "server.pem", (issuer, signer), issuer_at=issuer_at)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + path.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _certificate(
    name: str, path: Path, issued_by: Any = None, *, ca: bool = False, issuer_at: str | None = None
) -> tuple[Any, Any, Path]:
    """A certificate, its key, and `path`, where it lies as PEM. `issued_by`: certificate and key; itself by default."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if issued_by is None else (issued_by[0].subject, issued_by[1])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if issuer_at is not None:
        place = x509.UniformResourceIdentifier(issuer_at)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key, path
