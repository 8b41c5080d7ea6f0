"""Checks of the machine: variables of the environment, disks, clock, packages, DuckDB's extensions, ports.

Checks of what the platform keeps (ledger, stores, archive, definitions) belong to `services`.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import duckdb
import httpx
import psutil

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.environment import PREFIX
from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.model.settings import ArchiveSecret, Settings
from d4c_pipeline.model.settings_table import GROUPS, documented
from d4c_pipeline.model.stores import FolderPlace, S3Place
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import is_served
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.upkeep.attention import disks
from d4c_pipeline.upkeep.doctor.findings import Finding, failed, good, warning
from d4c_pipeline.workspace.archive import archive_address
from d4c_pipeline.workspace.provenance import lock_file

# Read by docker-compose.yml, by tracker.sh and by tests, not by this package.
_OTHERS = re.compile(
    r"D4C_(?:POSTGRES_PASSWORD|UI_PORT|SEED_PORT|TRACKER_ADDRESS|FIXTURES|STANDARDS|ADVISORIES\w*|TEST_\w+)"
)
_EXTENSIONS = ("spatial", "httpfs", "fts", "ducklake")
_NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs")
_CLOCK_SECONDS = 60.0
"""S3 refuses requests that are signed 15 minutes off; a minute already orders releases and leases wrongly."""
_ASK_SECONDS = 5.0
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_MOST_SHOWN = 5


def settings_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check that every group of settings can be read and that no variable is misspelt."""
    wrong = False
    for title, group in GROUPS:
        try:
            group.from_environment(environment)
        except D4CError as error:
            wrong = True
            yield failed("settings", f"{title}: {error.cause}", error.remedy)
    known = {setting.variable for _, group in GROUPS for setting in documented(group)}
    unknown = sorted(
        name
        for name, text in environment.items()
        if name.startswith(PREFIX)
        and text.strip()
        and name not in known | _named(environment)
        and not _OTHERS.fullmatch(name)
    )
    for name in unknown:
        close = get_close_matches(name, known, 1)
        advice = f"Correct it to {close[0]}" if close else "Remove it"
        yield warning("settings", f"{name} is no setting and has no effect", f"{advice}; 'd4c settings' lists all")
    if not wrong and not unknown:
        yield good("settings", f"{len(known)} settings can be read")


def _named(environment: Mapping[str, str]) -> set[str]:
    """The variables that the document of stores names for its keys; none if the document can't be read."""
    try:
        stores = Settings.from_environment(environment).stores
    except D4CError:
        return set()  # reported with the group of settings
    places = [place for place in (stores.primary, *stores.mirrors) if isinstance(place, S3Place)]
    names = [name for place in places for name in (place.access_key_env, place.secret_key_env)]
    return {name for name in names if name is not None}


def secret_file_findings(settings: Settings) -> Iterator[Finding]:
    """Check that no other user may read the files with secrets."""
    secret, seeding = ArchiveSecret.from_environment(), SeedingSettings.from_environment()
    places = [place for place in (settings.stores.primary, *settings.stores.mirrors) if isinstance(place, S3Place)]
    named = [secret.token_file, *(file for place in places for file in (place.access_key_file, place.secret_key_file))]
    files = [*named, seeding.key_file, *sorted((settings.home / "keys").glob("*.pem"))]
    found = list(dict.fromkeys(file for file in files if file is not None and file.exists()))
    exposed = [file for file in found if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    for file in exposed:
        yield warning("secrets", f"Other users may read {file}", f"Run chmod 600 {file}")
    for file in named:
        if file is not None and not os.access(file, os.R_OK):
            yield failed("secrets", f"The file of a secret can't be read: {file}", "Correct its path or its rights")
    if not exposed:
        yield good("secrets", f"{len(found)} files with secrets, readable by their owner alone")


def home_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the home is a folder in which this user may write, on a disk with locks."""
    home = settings.home
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            remedy = "Create it for this user, or choose another (--home, D4C_HOME)"
            yield failed("home", f"{home} does not exist and can't be created in {parent}", remedy)
        else:
            yield good("home", f"{home} does not exist yet; the first publication creates it")
        return
    trial = home / f".doctor-{uuid4().hex}"
    with storage_errors(f"write in the home {home}"):
        try:
            with trial.open("xb") as file:
                file.write(b"trial")
                file.flush()
                os.fsync(file.fileno())
        finally:
            trial.unlink(missing_ok=True)
    kind = _disk_kind(home)
    if kind in _NETWORK_DISKS and settings.ledger_url is None:
        detail = f"The home lies on a network disk ({kind}), whose locks an SQLite ledger can't rely on"
        yield failed("home", detail, "Move the home to a local disk, or use PostgreSQL (D4C_LEDGER_URL)")
    else:
        yield good("home", f"{home} can be written")


def _disk_kind(folder: Path) -> str:
    """The type of the file system of a folder; empty if the system does not say."""
    mounted = [part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)]
    return max(mounted, key=lambda part: len(part.mountpoint)).fstype if mounted else ""


def disk_findings(settings: Settings) -> Iterator[Finding]:
    """Check the free space of home, temporary files and stores, and that mounted stores are mounted."""
    places = (settings.stores.primary, *settings.stores.mirrors)
    for place in places:
        if isinstance(place, FolderPlace) and not place.path.is_dir():
            detail = f"The folder of store {place.name} is missing: {place.path}"
            yield failed("disk", detail, "Mount its disk, or correct path in the document of stores")
    for disk in disks(settings):
        if disk.is_nearly_full:
            yield failed(
                "disk", f"{disk.folder}: {disk.detail}", f"Free space; '{disk.command}' shows the largest folders"
            )
        else:
            yield good("disk", f"{disk.folder}: {disk.detail}")


def clock_findings(settings: Settings, ledger_clock: datetime | None = None) -> Iterator[Finding]:
    """Compare this clock with that of the servers that the settings name, by the Date header of their answers.

    `ledger_clock`: the time of the ledger's server, read just now.
    """
    places = [place for place in (settings.stores.primary, *settings.stores.mirrors) if place is not None]
    endpoints = [place.endpoint for place in places if isinstance(place, S3Place)]
    stated = [archive_address(settings), settings.store_url, *(place.url for place in places), *endpoints]
    addresses = list(dict.fromkeys(address for address in stated if address))
    offsets = {} if ledger_clock is None else {"the ledger's server": _offset(ledger_clock)}
    silent: list[str] = []
    for address in addresses:
        try:
            with http_client(_ASK_SECONDS, follow_redirects=False) as client:
                stamp = client.head(address).headers.get("Date")
            moment = parsedate_to_datetime(stamp) if stamp else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            moment = None
        if moment is None:
            silent.append(address)
        else:
            offsets[address] = _offset(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    wrong = {server: offset for server, offset in offsets.items() if abs(offset) > _CLOCK_SECONDS}
    for server, offset in wrong.items():
        detail = f"This clock is {abs(offset):,.0f} s {'ahead of' if offset > 0 else 'behind'} {server}"
        yield failed("clock", detail, "Synchronise it (timedatectl set-ntp true); a container uses its host's clock")
    if offsets and not wrong:
        yield good("clock", f"within {max(map(abs, offsets.values())):.0f} s of {', '.join(offsets)}")
    elif silent and not wrong:
        yield failed("clock", f"No server gave its time: {', '.join(silent)}", "Check that they run and can be reached")
    elif not wrong:
        yield good("clock", "no other server is configured, so nothing depends on agreement")


def _offset(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def extension_findings() -> Iterator[Finding]:
    """Load DuckDB's extensions from their packages, without a download, and compute with one."""
    remedy = "Install the locked packages again (make setup)"
    try:
        with duckdb_engine.connect(extensions=_EXTENSIONS, threads=1) as connection:
            shown = connection.execute("SELECT ST_AsText(ST_Point(1, 2))").fetchone()
    except (duckdb.Error, PermanentError) as error:
        cause = error.cause if isinstance(error, D4CError) else duckdb_engine.first_sentence(error)
        yield failed("duckdb", cause, remedy)
        return
    if shown != ("POINT (1 2)",):
        yield failed(
            "duckdb", f"The extension spatial computes {shown}", "Install the locked packages again (make setup)"
        )
    else:
        yield good("duckdb", f"DuckDB {duckdb.__version__} loads {', '.join(_EXTENSIONS)} offline")


def package_findings(lock: Path | None = None) -> Iterator[Finding]:
    """Compare the installed packages with the lock, and look for the portal's bundle."""
    file = lock or lock_file()
    if file is None:
        yield warning("packages", "This installation has no requirements.lock", "Install the wheel or a checkout")
    else:
        locked: dict[str, set[str]] = {}
        for name, pinned in _PINNED.findall(file.read_text("utf-8")):
            locked.setdefault(name, set()).add(pinned)
        installed = {name: found for name in locked if (found := _installed(name)) is not None}
        other = sorted(name for name, found in installed.items() if found not in locked[name])
        named = [f"{name} {installed[name]} (locked {' or '.join(locked[name])})" for name in other[:_MOST_SHOWN]]
        if other:
            detail = f"{len(other)} packages differ from the lock, so builds may differ: {', '.join(named)}"
            yield warning("packages", detail, "Install the locked ones again (make setup)")
        else:
            yield good("packages", f"{len(installed)} packages as locked")
    if not Bundle.read().is_built:
        detail = "The portal has no bundle: its pages show neither map, table nor search"
        yield warning("packages", detail, "Build it with 'make web'")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None  # of another platform, or for development


def port_findings(settings: Settings) -> Iterator[Finding]:
    """Check the ports of `d4c serve` and of the seeder: free, or ours."""
    if settings.store_url is None:
        try:
            served = is_served(mounts(settings), port=settings.port)
        except PermanentError as error:
            remedy = "Stop that program, or choose another port (D4C_PORT)"
            yield failed("ports", f"{error.cause}; the file server of the home needs that port", remedy)
        else:
            state = "'d4c serve' answers" if served else "free for 'd4c serve'"
            yield good("ports", f"{settings.port}: {state}")
    seeding = SeedingSettings.from_environment()
    taken = sorted(port for port in seeding.ports if port and not _is_free(port))
    if not taken:
        yield good("ports", f"{', '.join(map(str, sorted(seeding.ports)))}: free for 'd4c seed'")
    elif _seeder_answers(seeding):
        yield good("ports", f"{', '.join(map(str, taken))}: 'd4c seed' answers")
    else:
        detail = f"{', '.join(map(str, taken))}: in use, and no seeder of ours shows metrics"
        yield warning("ports", detail, "Stop that program, or choose another port (D4C_SEED_LISTEN)")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True


def _seeder_answers(seeding: SeedingSettings) -> bool:
    if not seeding.metrics_port:
        return False
    try:
        with http_client(_ASK_SECONDS) as client:
            return "d4c_seeder_" in client.get(f"http://{seeding.metrics_host}:{seeding.metrics_port}/metrics").text
    except httpx.HTTPError:
        return False
