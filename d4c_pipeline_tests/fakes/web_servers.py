"""A public address of a store whose server turns bad and good again: wrong bytes, no ranges, nobody there.

The good server is the one of `d4c serve`. What a client makes of the others is for tests and benchmarks to see.
"""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from d4c_pipeline.services.file_server import serving

GOOD, WRONG, DEAD, RANGELESS = "good", "wrong", "dead", "rangeless"


class WebServer:
    """What answers at `http://host:port` for a folder: `turn` says how. `asked`: how often, by how it answered."""

    def __init__(self, root: Path, host: str, port: int) -> None:
        self.url = f"http://{host}:{port}"
        self.asked: Counter[str] = Counter()
        self._root, self._host, self._port = root, host, port
        self._running = ExitStack()

    def turn(self, manner: str) -> None:
        """Answer as a `good` server does, with `wrong` bytes, `rangeless`, or be `dead`."""
        self._running.close()
        if manner == GOOD:
            self._running.enter_context(serving({"/": self._root}, host=self._host, port=self._port))
        elif manner != DEAD:
            handler = partial(_Wrong if manner == WRONG else _Rangeless, self.asked, directory=str(self._root))
            self._running.enter_context(_answering(handler, self._host, self._port))

    def close(self) -> None:
        """Answer no more."""
        self.turn(DEAD)


class _Rangeless(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server: it knows no ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, asked: Counter[str], *args: Any, **named: Any) -> None:
        self._asked = asked
        super().__init__(*args, **named)

    def do_GET(self) -> None:
        self._asked[RANGELESS] += 1
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class _Wrong(_Rangeless):
    """Answers ranges as it should, but with other bytes."""

    def do_GET(self) -> None:
        self._asked[WRONG] += 1
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        low, _, high = self.headers.get("Range", f"bytes=0-{size - 1}").removeprefix("bytes=").partition("-")
        first, last = int(low), min(int(high or size - 1), size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(b"\x5a" * (last - first + 1))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up on a bad server."""


@contextmanager
def _answering(handler: Any, host: str, port: int) -> Iterator[None]:
    server = _Server((host, port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
