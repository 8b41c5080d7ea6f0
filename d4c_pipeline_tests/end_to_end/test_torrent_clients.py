"""Real torrent clients, Debian's, get a published release whole from web seeds alone, and from our seeder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "torrent_clients.py"
TOOLS = ("aria2c", "transmission-daemon", "opentracker", "unshare", "ip")


@pytest.mark.clients
@pytest.mark.timeout(600)
def test_every_client_in_every_situation() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: .ci/run installs them")
    done = subprocess.run([sys.executable, BENCHMARK, "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Three clients: five situations with web seeds and no peer, one with a peer and no good web seed.
    assert json.loads(done.stdout.splitlines()[-1]) == {"cases": 18, "passed": 18}, done.stdout
