"""Real torrent clients, Debian's, get a release whole from web seeds alone and from a peer of our seeder's tracker."""

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
    # Three clients: four situations with web seeds and no peer, one with a peer and no web seed.
    assert json.loads(done.stdout.splitlines()[-1]) == {"cases": 15, "passed": 15}, done.stdout
