"""A running Caddy with the deployment's Caddyfile."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def caddy(folder: Path, *, ui: str, store: str, **variables: str) -> Iterator[None]:
    """Run Caddy on the addresses `ui` and `store` during the block; `variables` of the Caddyfile without D4C_CADDY_."""
    if shutil.which("caddy") is None:
        assert "CI" not in os.environ, "CI installs caddy"
        pytest.skip("caddy is not installed")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "D4C_UI_URL": ui,
        "D4C_STORE_URL": store,
        "D4C_CADDY_BIND": "127.0.0.1",
        **{f"D4C_CADDY_{name}": value for name, value in variables.items()},
    }
    words = ["caddy", "run", "--config", REPOSITORY / "Caddyfile", "--adapter", "caddyfile"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(store, trust_env=False)
                break
            except httpx.TransportError:
                ended = running.poll() is not None or time.monotonic() > deadline
                assert not ended, (folder / "log").read_text("utf-8")
                time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(20)
