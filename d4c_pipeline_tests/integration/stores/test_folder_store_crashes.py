"""A folder store against kill -9, a full disk and a read-only one: nothing half-written, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.stores.folder import FolderStore

ADDRESS = "releases/stops/2024/v0.1.0/stops.parquet"
PUT = f"""
import hashlib, sys
from pathlib import Path
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.errors import StorageError
root, source, size, sha256 = sys.argv[1:]
try:
    FolderStore(Path(root), "http://x").put_immutable(Path(source), {ADDRESS!r}, Digests(int(size), "", sha256))
except StorageError as error:
    print(error)
    sys.exit(3)
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class SlowPut:
    """A process that puts what a pipe gives it, and so stands still in the middle of its write."""

    def __init__(self, root: Path, pipe: Path, whole: Path) -> None:
        os.mkfifo(pipe)
        digests = hash_file(whole)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUT, str(root), str(pipe), str(digests.size), digests.sha256], env=environment()
        )
        self.content = whole.read_bytes()
        self.writer = pipe.open("wb", buffering=0)
        self.writer.write(self.content[:50_000])
        self.folder = (root / ADDRESS).parent
        wait_for(self.parts)

    def parts(self) -> list[Path]:
        return list(self.folder.glob(".*")) if self.folder.is_dir() else []


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole"
    path.write_bytes(bytes(range(256)) * 400)
    return path


def test_kill_9_in_the_middle_leaves_nothing_at_the_address_and_the_next_put_sweeps(
    tmp_path: Path, whole: Path
) -> None:
    root = tmp_path / "store"
    slow = SlowPut(root, tmp_path / "pipe", whole)
    slow.process.send_signal(signal.SIGKILL)
    slow.process.wait()
    slow.writer.close()
    store = FolderStore(root, "http://x")
    assert len(slow.parts()) == 1
    assert store.stat(ADDRESS) is None
    assert store.put_immutable(whole, ADDRESS, hash_file(whole)).changed
    assert slow.parts() == []
    assert store.read_bytes(ADDRESS) == whole.read_bytes()


def test_the_sweep_leaves_a_living_writer_its_file(tmp_path: Path, whole: Path) -> None:
    root = tmp_path / "store"
    slow = SlowPut(root, tmp_path / "pipe", whole)
    parts = slow.parts()
    FolderStore(root, "http://x").put_immutable(whole, f"{ADDRESS}.other", hash_file(whole))
    assert slow.parts() == parts
    slow.writer.write(slow.content[50_000:])
    slow.writer.close()
    assert slow.process.wait(20) == 0
    assert slow.parts() == []
    assert FolderStore(root, "http://x").read_bytes(ADDRESS) == slow.content


@pytest.mark.parametrize(
    ("options", "reason", "remedy"),
    [
        ("size=64k", "No space left on device", "Free space on that disk"),
        ("ro", "Read-only file system", "Mount the disk writable"),
    ],
)
def test_a_full_or_read_only_disk_is_one_clear_sentence(
    tmp_path: Path, whole: Path, options: str, reason: str, remedy: str
) -> None:
    # A mount of its own in a user namespace: the real thing, where the kernel allows it.
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    mount = 'mount -t tmpfs -o "$1" d4c-test "$2" || exit 77; shift 2; "$@"; code=$?; find "$4" -type f >&2; exit $code'
    digests = hash_file(whole)
    python = [sys.executable, "-c", PUT, str(mounted), str(whole), str(digests.size), digests.sha256]
    try:
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount, "sh", options, str(mounted), *python],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed: no disk of one's own can be mounted")
    if done.returncode in {1, 77} and "StorageError" not in done.stderr and "Traceback" not in done.stderr:
        pytest.skip(f"no mount in a user namespace here: {done.stderr.strip()}")
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(f"Can't write {ADDRESS} in store primary: {reason}. {remedy}")
    assert done.stderr == ""


def test_a_limit_on_file_sizes_is_a_storage_error_too(tmp_path: Path, whole: Path) -> None:
    digests = hash_file(whole)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n{PUT}"
    done = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path / "store"), str(whole), str(digests.size), digests.sha256],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "File too large. Raise the limit on file sizes" in done.stdout
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
