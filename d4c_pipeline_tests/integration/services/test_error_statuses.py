"""The status of every error that can reach a request: whether the client corrects it, retries, or tells the operator.

Each error is raised where releases are found, and read over HTTP through protocols with error documents of their own
and of ours. DuckDB's own come from files that are gone or damaged.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pytest

from d4c_pipeline.model import errors
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.protocol import opened
from d4c_pipeline.services.subset.service import SubsetService
from d4c_pipeline_tests.support.served import wait

SECRET = "/home/operator/private/ledger.sqlite"
STATUSES: dict[type[D4CError], int] = {
    errors.UnknownNameError: 404,
    errors.TransientError: 503,
    errors.BusyError: 503,
    errors.OverdueError: 504,
    errors.PermanentError: 400,
    errors.DefinitionError: 500,
    errors.SourceError: 500,
    errors.DataError: 500,
    errors.NeedsPersonError: 500,
    errors.AwaitingReviewError: 500,
    errors.IntegrityError: 500,
    errors.StorageError: 500,
}
SENTENCES = {
    errors.IntegrityError: "A file of the server is missing or damaged. Ask again later; if it fails again, send urn:",
    errors.StorageError: "A disk of the server is full, read-only or refuses access. Ask again later; if it fails",
    errors.OverdueError: "Cause. Remedy",
    errors.PermanentError: "Cause. Remedy",
}
OTHERS: list[tuple[Exception, int]] = [
    (duckdb.OutOfMemoryException("Out of Memory Error"), 503),
    (duckdb.InterruptException("INTERRUPT Error: Interrupted!"), 504),
    (duckdb.IOException(f"IO Error: Cannot open file {SECRET}"), 500),
    (MemoryError(), 503),
    (OSError(errno.EMFILE, "Too many open files"), 503),
    (RuntimeError("can't start new thread"), 503),
    (RuntimeError(f"unable to open {SECRET}"), 500),
]
DAP, PROCESSES = "/dap/places.dds", "/processes/subset/execution?dataset=places"


@pytest.fixture(scope="module")
def client(published: Settings) -> Iterator[httpx.Client]:
    with (
        opened(published) as routes,
        serving(mounts(published), others=routes) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        wait(lambda: client.get(DAP).status_code == 200)
        yield client


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(SubsetService, "release", fails)


def test_the_table_has_every_class() -> None:
    def below(kind: type[D4CError]) -> set[type[D4CError]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    assert {kind for kind in below(D4CError) if kind.__module__ == errors.__name__} == {D4CError, *STATUSES}


@pytest.mark.parametrize(("kind", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("address", [DAP, PROCESSES])
def test_the_status_of_an_error(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    kind: type[D4CError], status: int, address: str,
) -> None:  # fmt: skip
    ours = status == 500
    raising(monkeypatch, kind(f"Cause of {SECRET}" if ours else "Cause", "Remedy"))
    with caplog.at_level(logging.ERROR):
        answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert ("Retry-After" in answer.headers) == (status in (503, 504))
    assert SECRET not in answer.text
    assert SENTENCES.get(kind, "Ask again later" if ours else "Cause. Remedy") in answer.text
    assert ours == (SECRET in caplog.text)
    assert answer.text.startswith("Error {" if address == DAP else "{")


@pytest.mark.parametrize(("error", "status"), OTHERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("address", [DAP, PROCESSES])
def test_the_status_of_what_the_system_or_duckdb_raises(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, address: str
) -> None:
    raising(monkeypatch, error)
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert ("Retry-After" in answer.headers) == (status != 500)
    assert SECRET not in answer.text


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("address", ["/dap/rates.dods", "/processes/subset/execution?dataset=rates&format=csv"])
def test_damage_of_a_data_file_is_500_and_names_no_folder(
    client: httpx.Client, published: Settings, address: str, *, filtered: bool
) -> None:
    """It was 400 with DuckDB's message, which names the file, as though the request were wrong."""
    (path,) = published.home.rglob("releases/**/*rates*.parquet")
    asked = address
    if filtered:
        asked += "?rows.day,rows.rate&rows.rate>1" if "dap" in address else "&filter=rate%20>%201"
    assert client.get(asked).status_code == 200  # the footers are known now
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little") + 8
    before = path.stat()
    path.chmod(0o644)
    try:
        path.write_bytes(b"PAR1" + b"\xff" * (len(content) - size - 4) + content[-size:])
        answer = client.get(asked)
    finally:
        path.write_bytes(content)
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # DuckDB tells what it has cached by the time
    assert answer.status_code == 500, answer.text
    assert "A file of the server is missing or damaged" in answer.text
    assert str(Path(published.home)) not in answer.text
    assert client.get(asked).status_code == 200
