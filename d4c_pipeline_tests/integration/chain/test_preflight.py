"""Before a DOI is reserved, readers get what the stores hold, or the settings are named as what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from d4c_pipeline.chain.preflight import ADDRESS, try_public_addresses
from d4c_pipeline.model.errors import PermanentError, TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace, Stores
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.deployment import Deployment


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def deployment(home: Path, url: str | None, mirror: FolderPlace | None = None) -> Iterator[Deployment]:
    stores = Stores(mirrors=() if mirror is None else (mirror,))
    with Deployment.open(Settings(home=home, store_url=url, stores=stores)) as opened:
        yield opened


def test_a_store_that_is_served_passes_and_holds_one_small_object(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with serving({"/": tmp_path / "store"}) as url, deployment(tmp_path, url) as opened:
        try_public_addresses(opened)
        before = (tmp_path / "store" / ADDRESS).stat().st_mtime_ns
        try_public_addresses(opened)
        assert (tmp_path / "store" / ADDRESS).stat().st_mtime_ns == before


def test_the_embedded_default_is_not_tried(tmp_path: Path) -> None:
    with deployment(tmp_path, None) as opened:
        try_public_addresses(opened)
    assert not (tmp_path / "store" / ADDRESS).exists()


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (403, b"<Error/>", PermanentError, r"Readers can't read store primary: .* answers 403\. Allow public reads"),
        (404, b"", PermanentError, r"does not serve it: .* answers 404\. Correct the address"),
        (200, b"<html>parked</html>", PermanentError, r"serves other bytes than it holds: .*19 bytes instead of 95"),
        (503, b"", TransientError, r"does not answer: .* answers 503\. Start its server"),
    ],
)
def test_an_address_that_serves_something_else_is_named(
    tmp_path: Path, status: int, body: bytes, kind: type[Exception], said: str
) -> None:
    with (
        answering(status, body) as url,
        deployment(tmp_path, url) as opened,
        pytest.raises(kind, match=said),
    ):
        try_public_addresses(opened)


def test_an_address_where_nothing_listens_is_transient(tmp_path: Path) -> None:
    with answering(200) as url:
        pass
    with deployment(tmp_path, url) as opened, pytest.raises(TransientError, match="can't be reached"):
        try_public_addresses(opened)


def test_a_mirror_that_readers_may_not_read_stops_and_one_that_is_down_does_not(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "attic").mkdir()
    with serving({"/": tmp_path / "store"}) as url:
        with answering(403) as denied:
            mirror = FolderPlace(kind="folder", name="attic", path=tmp_path / "attic", url=denied)
            with (
                deployment(tmp_path, url, mirror) as opened,
                pytest.raises(PermanentError, match="Readers can't read store attic"),
            ):
                try_public_addresses(opened)
        with deployment(tmp_path, url, mirror) as opened:  # nothing listens there any more
            try_public_addresses(opened)
        gone = FolderPlace(kind="folder", name="attic", path=tmp_path / "nowhere", url="http://127.0.0.1:9")
        with deployment(tmp_path, url, gone) as opened:
            try_public_addresses(opened)
