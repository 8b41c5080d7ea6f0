"""tracker.sh: opentracker reads its whitelist again once the seeder has replaced it."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from d4c_pipeline.upkeep.seeding import write_whitelist
from d4c_pipeline_tests.support.ports import free_port

SCRIPT = Path(__file__).parents[3] / "tracker.sh"


def announced(port: int, info_hash: str) -> bytes:
    query = f"info_hash={quote_from_bytes(bytes.fromhex(info_hash))}&peer_id={'a' * 20}&port=6881&left=0"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/announce?{query}", timeout=5) as answer:
        return answer.read()


@pytest.mark.clients
def test_a_torrent_is_served_from_the_moment_it_is_listed(tmp_path: Path) -> None:
    if shutil.which("opentracker") is None:
        pytest.skip("opentracker not installed: .ci/run installs it")
    port, folder = free_port(), tmp_path / "tracker"
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)  # started by root, it becomes nobody
    words = [SCRIPT, folder, str(port), "127.0.0.1"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                first = announced(port, "ab" * 20)
                break
            except OSError:
                time.sleep(0.1)
        assert b"not authorized" in first
        write_whitelist(folder / "whitelist", ["ab" * 20])
        while b"not authorized" in announced(port, "ab" * 20) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert b"interval" in announced(port, "ab" * 20)
        assert b"not authorized" in announced(port, "cd" * 20)
    finally:
        process.terminate()
        assert process.wait(10) == 0
