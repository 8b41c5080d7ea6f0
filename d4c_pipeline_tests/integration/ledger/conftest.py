"""Ledgers to test: SQLite always, a real PostgreSQL where Debian's package `postgresql` is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.differences import Stated
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, DataSummary, Release, release_key
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

ACCOUNT = "postgres"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres: against a running PostgreSQL")


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        reason = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of our own on loopback, without the database name; stopped at the end."""
    binaries = _binaries()
    # Not under pytest's folder: only its owner may enter that, and the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="d4c-postgres-"))
    as_account: dict[str, str] = {"user": ACCOUNT} if os.geteuid() == 0 else {}
    if as_account:
        shutil.chown(folder, ACCOUNT)
    port = _free_port()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    subprocess.run(
        [binaries / "initdb", "--pgdata", folder / "data", "--username", ACCOUNT, "--auth", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
        env=environment,
        **as_account,
    )
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                binaries / "postgres",
                "-D",
                folder / "data",
                *(part for key, value in options.items() for part in ("-c", f"{key}={value}")),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            **as_account,
        )
    url = f"postgresql+psycopg2://{ACCOUNT}@127.0.0.1:{port}"
    try:
        _wait(url, server, folder / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # "fast shutdown"
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = create_engine(f"{url}/postgres")
    deadline = time.monotonic() + 30
    while True:
        try:
            engine.connect().close()
            break
        except OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
    engine.dispose()


def _database(server: str) -> str:
    name = f"d4c_{uuid.uuid4().hex[:12]}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"
    return _database(request.getfixturevalue("postgres"))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with closing(Ledger(url)) as opened:
        yield opened


def _artifact(name: str, role: ArtifactRole, sha256: str) -> Artifact:
    return Artifact(name, role, 10, "0" * 32, sha256, "application/octet-stream")


@pytest.fixture(scope="session")
def plan() -> Callable[..., Release]:
    """Plan a release of two artifacts."""

    def run(ledger: Ledger, version: str = "0.1.0", vintage: str = "2021", dataset: str = "provinces") -> Release:
        artifacts = [
            _artifact("data.parquet", ArtifactRole.DATA, "a" * 64),
            _artifact("manifest.json", ArtifactRole.MANIFEST, "b" * 64),
        ]
        read, moment = Version.read(version), Vintage.parse(vintage)
        return ledger.releases.plan(
            dataset,
            moment,
            read,
            name=f"{dataset}_{vintage}_v{version}",
            key=release_key(dataset, moment, read, artifacts),
            change=Change(Bump.MINOR, (Stated("coverage grew"),)),
            summary=DataSummary(13, (), ("pruid",), "EPSG:4326", (-141.0, 41.7, -52.6, 83.1), ("Polygon",), {}),
            artifacts=artifacts,
        )

    return run
