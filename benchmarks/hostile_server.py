"""Attacks on `d4c serve` for `hostile.py`: readers that stall or crowd, endless heads and ranges, active native files.

Here belongs what is tried against the file server over sockets of the loopback. Each attack has a server of its own,
and fails too when another reader is not served meanwhile. Refusals of definitions, addresses, SQL and texts are in
`hostile.py`.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.http_limits import HEAD_BYTES, LimitedProtocol, limited

Attack = tuple[str, Callable[[], str | None]]
"""A name, and what is tried: returns None when it was withstood, else what happened."""

CONTENT = b"d4c" * 1000
OUTSIDE = b"nobody outside this machine may read this"
HEAD_SECONDS = 0.5  # of the servers here; `d4c serve` waits for 10 s
CLOSED_SECONDS = 8.0  # uvicorn closes between two requests after 5 s
BUFFERS = 16 << 20  # what the kernel may take of a sender on both sides before the server reads
SCRIPT = b"<script>alert(document.domain)</script>"
NAME = "/processed/small.parquet"


def attacks(folder: Path) -> Iterator[Attack]:
    """Generate the attacks; `folder` is empty and theirs."""
    home = folder / "store"
    (home / "processed").mkdir(parents=True)
    (home / NAME[1:]).write_bytes(CONTENT)
    with (home / "processed" / "large.parquet").open("wb") as handle:
        handle.truncate(64 << 20)
    (folder / "outside.txt").write_bytes(OUTSIDE)
    (home / ".staging").mkdir()
    (home / ".staging" / "hidden.txt").write_bytes(OUTSIDE)
    (home / "raw").mkdir()
    (home / "raw" / "link.txt").symlink_to(folder / "outside.txt")
    for kind in (_stalls, _crowds, _heads, _ranges, _paths, _active, _names, _charsets):
        yield from kind(home)


def _connect(url: str, first: bytes = b"") -> socket.socket:
    address = httpx.URL(url)
    raw = socket.create_connection((address.host, address.port or 0), timeout=CLOSED_SECONDS)
    raw.sendall(first)
    return raw


def _others(url: str) -> str | None:
    """Say so unless another reader is served within five seconds: a head of 60 MB once stalled all for fifteen."""
    begin = time.monotonic()
    try:
        got = httpx.get(f"{url}{NAME}", trust_env=False, timeout=20).content
    except httpx.HTTPError as error:
        return f"another reader is shut out: {error!r}"
    waited = time.monotonic() - begin
    return None if got == CONTENT and waited < 5 else f"another reader waits {waited:.1f} s"


def _ended(raw: socket.socket) -> bool:
    """Whether the server closes the connection, by an answer or without, in the time that it has."""
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < CLOSED_SECONDS:
            if not raw.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def _stalls(home: Path) -> Iterator[Attack]:
    def attack(first: bytes, trickle: bytes) -> str | None:
        with serving({"/": home}, protocol=limited(head_seconds=HEAD_SECONDS)) as url, _connect(url, first) as raw:
            begin = time.monotonic()
            while trickle and time.monotonic() - begin < CLOSED_SECONDS:
                try:
                    raw.sendall(trickle)
                except OSError:
                    break
                time.sleep(0.05)
            return _others(url) or (None if _ended(raw) else "the connection stays open")

    whole = f"GET {NAME} HTTP/1.1\r\nHost: x\r\n".encode()
    beginnings = {
        "nothing": b"",
        "one letter": b"G",
        "half a line": f"GET {NAME[:9]}".encode(),
        "no blank line": whole,
        "half a header": whole + b"X-Long: aaa",
        "a second request": whole + b"\r\n" + whole,
        "a body that does not come": whole + b"Content-Length: 1000000\r\n\r\n",
        "chunks that do not end": whole + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "a POST whose body does not come": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nab",
        "an upgrade": whole + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "the greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }
    for name, first in beginnings.items():
        yield f"stalls after {name}", lambda f=first: attack(f, b"")
    for name in ("nothing", "half a header"):
        for trickle in (b"a", b"aaaa: b\r\n"):
            yield f"trickles {trickle!r} after {name}", lambda f=beginnings[name], t=trickle: attack(f, t)


def _crowds(home: Path) -> Iterator[Attack]:
    def attack(protocol: type[LimitedProtocol], count: int, first: bytes) -> str | None:
        with serving({"/": home}, protocol=protocol) as url, ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(_connect(url, first))
            return next(filter(None, (_others(url) for _ in range(5))), None)

    for count, first in itertools.product((50, 300), (b"", b"GET /proc", b"GET / HTTP/1.1\r\nHost: x\r\n")):
        yield f"{count} with {first!r} where 20 fit", lambda c=count, f=first: attack(limited(most=20), c, f)


def _heads(home: Path) -> Iterator[Attack]:
    def attack(first: bytes, more: bytes) -> str | None:
        with serving({"/": home}) as url, _connect(url, first) as raw:
            sent = 0
            try:
                while sent < 60 << 20:
                    raw.sendall(more)
                    sent += len(more)
            except OSError:
                pass
            if sent > HEAD_BYTES + BUFFERS:
                return f"{sent >> 20} MB of a head were taken"
            return _others(url) or (None if _ended(raw) else "the connection stays open")

    line = b"GET / HTTP/1.1\r\nHost: x\r\n"
    yield "one header of 60 MB", lambda: attack(line + b"X: ", b"a" * 65536)
    yield "60 MB of headers", lambda: attack(line, b"X-a: b\r\n" * 8192)
    yield "60 MB of one header again and again", lambda: attack(line, b"Range: bytes=0-1\r\n" * 4096)
    yield "an address of 60 MB", lambda: attack(b"GET /", b"a" * 65536)
    yield "a query of 60 MB", lambda: attack(b"GET /?", b"a=b&" * 16384)
    yield "a method of 60 MB", lambda: attack(b"", b"G" * 65536)
    yield "60 MB of folded lines", lambda: attack(line + b"X: a\r\n", b" a\r\n" * 16384)
    yield "60 MB of blank lines", lambda: attack(b"", b"\r\n" * 32768)


def _ranges(home: Path) -> Iterator[Attack]:
    size = 64 << 20

    def attack(header: str) -> str | None:
        with serving({"/": home}) as url:
            got, begin = 0, time.monotonic()
            address = f"{url}/processed/large.parquet"
            with httpx.stream("GET", address, headers={"Range": header}, trust_env=False, timeout=60) as answer:
                for chunk in answer.iter_raw():
                    got += len(chunk)
                    if got > size + (1 << 20):
                        return "more than the file is sent"
            waited = time.monotonic() - begin
            return _others(url) or (None if waited < 30 else f"it takes {waited:.0f} s")

    yield "1,000 ranges that overlap", lambda: attack("bytes=" + ",".join(f"{n}-" for n in range(1000)))
    yield "2,000 ranges of one byte", lambda: attack("bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(2000)))
    yield "the whole file 500 times", lambda: attack("bytes=" + ",".join(["0-"] * 500))
    yield "ranges from the end", lambda: attack("bytes=" + ",".join(f"-{size - n}" for n in range(500)))
    for odd in (
        "bytes=a-b",
        "bytes=-",
        "bytes=5-1",
        "items=0-1",
        "bytes=99999999999999999999-",
        "bytes=0-" + "9" * 5000,
    ):
        yield f"Range {odd[:24]}", lambda o=odd: attack(o)


def _raw(url: str, target: bytes) -> bytes:
    with _connect(url, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as raw:
        answer = b""
        while data := raw.recv(65536):
            answer += data
        return answer


def _paths(home: Path) -> Iterator[Attack]:
    def attack(target: bytes) -> str | None:
        with serving({"/": home}) as url:
            answer = _raw(url, target)
            if OUTSIDE in answer:
                return "it is served"
            return None if answer[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 400") else f"answered {answer[:20]!r}"

    ups = (
        b"../",
        b"..%2f",
        b"%2e%2e/",
        b"%2e%2e%2f",
        b"..%5c",
        b"..\\",
        b"....//",
        b"%252e%252e%252f",
        b"..;/",
        b"/../",
    )
    for up, start in itertools.product(ups, (b"/", b"/processed/", b"/raw/x/")):
        target = start + up * (1 + start.count(b"/") - 1) + b"outside.txt"
        yield f"GET {target!r}", lambda t=target: attack(t)
    for target in (
        b"/.staging/hidden.txt",
        b"/%2estaging/hidden.txt",
        b"/raw/link.txt",
        b"//etc/hostname",
        b"/processed",
    ):
        yield f"GET {target!r}", lambda t=target: attack(t)
    for target in (
        b"/outside.txt%00.parquet",
        b"/processed/small.parquet%00",
        b"/%00",
        b"/" + b"a/" * 4000,
        b"/%ff%fe",
    ):
        yield f"GET {target[:24]!r}", lambda t=target: attack(t)


def _active(home: Path) -> Iterator[Attack]:
    def attack(place: str, name: str) -> str | None:
        (home / place).mkdir(parents=True, exist_ok=True)
        (home / place / name).write_bytes(SCRIPT)
        with serving({"/": home}) as url:
            headers = httpx.get(f"{url}/{place}/{name}", trust_env=False, timeout=20).headers
        wrong = []
        if not headers.get("Content-Security-Policy", "").startswith("sandbox; default-src 'none'"):
            wrong.append("no sandbox")
        if headers.get("X-Content-Type-Options") != "nosniff":
            wrong.append("sniffed")
        kind = headers["Content-Type"].partition(";")[0]
        inert = {"text/plain", "text/csv", "application/octet-stream"}
        if kind not in inert and not headers["Content-Disposition"].startswith("attachment"):
            wrong.append(f"shown as {kind}")
        return ", ".join(wrong) or None

    names = (
        "page.html", "PAGE.HTML", "page.htm", "page.xhtml", "page.xht", "page.shtml", "map.svg", "map.svgz", "map.SvG",
        "data.xml", "style.xsl", "code.js", "code.mjs", "code.wasm", "doc.pdf", "page.html.txt", "page.mht", "noname",
    )  # fmt: skip
    for place, name in itertools.product(
        ("raw/d/2024/0123456789ab", "releases/d/2024/v0.1.0", "archive/records/1"), names
    ):
        yield f"{place}/{name}", lambda p=place, n=name: attack(p, n)


def _names(home: Path) -> Iterator[Attack]:
    def attack(name: str) -> str | None:
        place = home / "raw" / "n"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(b"1")
        with serving({"/": home}) as url:
            answer = _raw(url, b"/raw/n/" + "".join(f"%{byte:02x}" for byte in name.encode()).encode())
        head = answer.partition(b"\r\n\r\n")[0]
        lines = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")]
        if b"set-cookie" in lines or b"\n" in head.replace(b"\r\n", b""):
            return "the name became a header"
        return (
            None if answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 404", b"HTTP/1.1 400") else f"answered {answer[:40]!r}"
        )

    for name in (
        "a\r\nSet-Cookie: b=c.csv",
        "a\nSet-Cookie: b.csv",
        'a".html; x="b.csv',
        "a\\.csv",
        "é\u202ecsv.exe",
        "a;b=c.csv",
    ):
        yield f"a file named {name!r}", lambda n=name: attack(n)


def _charsets(home: Path) -> Iterator[Attack]:
    def attack(text: str, encoding: str, suffix: str) -> str | None:
        content = text.encode(encoding, "replace")
        (home / "raw" / f"text{suffix}").write_bytes(content)
        with serving({"/": home}) as url:
            kind = httpx.get(f"{url}/raw/text{suffix}", trust_env=False, timeout=20).headers["Content-Type"]
        charset = kind.partition("charset=")[2]
        if not charset:
            return None if suffix != ".csv" or encoding not in ("utf-8-sig", "utf-16") else "an order mark is not told"
        read = content.decode(charset, "replace").lstrip("\ufeff")
        return None if read == content.decode(encoding) else f"{encoding} is labelled {charset}"

    texts = ("id,name\n1,Montréal\n", "id,name\n1,Гатино\n", "plain\n", "é" * 40_000)
    encodings = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman", "cp437", "latin-1", "shift_jis", "cp1251")
    for text, encoding, suffix in itertools.product(texts, encodings, (".csv", ".txt", ".html")):
        yield f"{encoding}{suffix} {text[:16]!r}", lambda t=text, e=encoding, s=suffix: attack(t, e, s)
