"""A full disk, a read-only one and a limit on file sizes: told in a sentence, and nothing that readers see is touched.

The disks are real ones (tmpfs in a user namespace, where the kernel allows it), the refusals those of the kernel.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import drafts, records, tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES_URL, Origin, corrected, define, geojson

KIB = 1024
MOUNT = 'mount -t tmpfs -o size=24m d4c-test "$0" || exit 77; exec "$@"'


@dataclass
class Disk:
    """A disk of one's own: `mounted` as the processes in its namespace see it, `seen` as this one does."""

    zygote: Zygote
    mounted: Path

    @property
    def seen(self) -> Path:
        return Path(f"/proc/{self.zygote.pid}/root{self.mounted}")

    def leave(self, free: int) -> None:
        """Fill the disk up to `free` bytes."""
        self.clear()
        facts = os.statvfs(self.seen)
        (self.seen / "ballast").write_bytes(b"\1" * max(facts.f_bavail * facts.f_frsize - free, 0))

    def clear(self) -> None:
        (self.seen / "ballast").unlink(missing_ok=True)

    def remount(self, how: str) -> None:
        inside = ["nsenter", f"--target={self.zygote.pid}", "--user", "--mount", "--preserve-credentials"]
        subprocess.run([*inside, "mount", "-o", f"remount,{how}", str(self.mounted)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted, scratch = tmp_path / "mounted", tmp_path / "scratch"
    mounted.mkdir()
    scratch.mkdir()
    try:
        zygote = Zygote(scratch, ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(mounted)])
    except FileNotFoundError:
        pytest.skip("unshare is not installed: no disk of one's own can be mounted")
    if not zygote.ready:
        pytest.skip(f"no mount in a user namespace here: {zygote.close().strip()}")
    yield Disk(zygote, mounted)
    zygote.close()


@pytest.fixture
def on_disk(d4c: D4C, disk: Disk, origin: Origin, definitions: Path) -> D4C:
    """A home on that disk, in which the sample dataset has a first release and its source has a correction."""
    moved = replace(d4c, zygote=disk.zygote, home=disk.mounted / "home")
    define(definitions)
    origin.put(PLACES_URL, geojson())
    assert moved.ok("publish", "places")["version"] == "0.1.0-beta"
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    return moved


def for_readers(home: Path) -> dict[str, str]:
    """What readers see: the first release, /processed/, the catalogue, the archive's records."""
    store = home / "store"
    parts = [store / "releases" / "places" / "2021" / "v0.1.0-beta", store / "processed", store / "catalogue"]
    found = {
        str(part / name): sha for part in (*parts, home / "archive" / "records") for name, sha in tree(part).items()
    }
    assert len(found) > 10
    return found


def check_goes_on(d4c: D4C, home: Path) -> None:
    row = d4c.ok("publish", "places")
    assert (row["version"], row["outcome"]) == ("0.1.1-beta", "published")
    assert len(records(home)) == 2
    assert drafts(home) == []


def test_a_full_disk_under_everything(on_disk: D4C, disk: Disk) -> None:
    before = for_readers(disk.seen / "home")
    for free in (0, 48 * KIB, 160 * KIB, 256 * KIB):
        disk.leave(free)
        told = on_disk("publish", "places").sentence
        assert told.startswith("A database under the home can't be written or read: ")
        assert for_readers(disk.seen / "home") == before
    disk.clear()
    check_goes_on(on_disk, disk.seen / "home")


def test_a_full_disk_under_the_files(on_disk: D4C, disk: Disk, tmp_path: Path) -> None:
    # The databases lie elsewhere: it is the chain's own files that find no room, step by step.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (disk.seen / "home" / "ledger.sqlite").rename(disk.seen / "home" / "moved.sqlite")
    (elsewhere / "ledger.sqlite").write_bytes((disk.seen / "home" / "moved.sqlite").read_bytes())
    on_disk.settings |= {
        "DAGSTER_HOME": str(elsewhere / "dagster"),
        "D4C_LEDGER_URL": f"sqlite:///{elsewhere / 'ledger.sqlite'}",
    }
    before = for_readers(disk.seen / "home")
    reached: set[str] = set()
    for free in range(0, 96 * KIB, 12 * KIB):
        disk.leave(free)
        done = on_disk("publish", "places")
        if done.code == 0:
            break
        assert any(words in done.sentence for words in ("No space left on device", " is full", " free. ")), done.stderr
        assert "bug" not in done.sentence
        reached.add(done.stderr.splitlines()[-2].split()[-1])
        assert for_readers(disk.seen / "home") == before
    # It failed in several steps, each time a later one, and never after the release was public.
    assert len(reached) >= 3
    assert reached <= {"raw", "processed", "checksums", "copies", "torrent", "stac_item", "deposit"}
    disk.clear()
    row = on_disk.ok("publish", "places")
    assert row["version"] == "0.1.1-beta"
    assert len(records(disk.seen / "home")) == 2


def test_a_read_only_disk(on_disk: D4C, disk: Disk) -> None:
    before = for_readers(disk.seen / "home")
    disk.remount("ro")
    for command in (("publish", "places"), ("status",), ("demo",)):
        told = on_disk(*command).sentence
        assert "read" in told.lower(), told
        assert "bug" not in told, told
    assert for_readers(disk.seen / "home") == before
    disk.remount("rw")
    check_goes_on(on_disk, disk.seen / "home")


def test_a_home_that_is_no_folder(d4c: D4C, definitions: Path) -> None:
    define(definitions)
    d4c.home.write_text("a file")
    for command in (("publish", "places"), ("status",), ("demo",), ("catalogue",)):
        assert "bug" not in d4c(*command).sentence


def test_a_limit_on_file_sizes(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(
        definitions,
        "noise",
        source={"kind": "http", "urls": [f"{HOST}/noise_{{vintage}}.csv"]},
        processing={"kind": "table", "key": ["id"]},
    )
    lines = "".join(f"{number},{os.urandom(32).hex()}\n" for number in range(40_000))
    origin.put(f"{HOST}/noise_2021.csv", b"id,noise\n" + lines.encode())
    told = d4c("publish", "noise", file_size_limit=1 << 20).sentence
    assert "File too large" in told
    row = d4c.ok("publish", "noise")
    assert (row["rows"], row["version"]) == (40_000, "0.1.0-beta")
