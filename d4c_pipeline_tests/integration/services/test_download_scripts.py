"""Download scripts, run by their tools: they resume, verify, and never run a text of the catalogue."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.services.download_scripts import TOOLS, Download, script

CONTENT = bytes(range(256)) * 4_000
RUN = {
    "curl": ["sh"],
    "wget": ["sh"],
    "aria2": ["aria2c", "--check-integrity=true", "--auto-file-renaming=false", "--quiet", "--input-file"],
    "python": [sys.executable],
    "r": ["Rscript"],
    "rclone": ["sh"],
}
NEEDS = {"curl": "curl", "wget": "wget", "aria2": "aria2c", "python": "sh", "r": "Rscript", "rclone": "rclone"}
HOSTILE = "it's $(touch pwned) `touch pwned` \"; touch pwned; %x é"


class Files(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at every path, with ranges; each of them is noted."""

    ranges: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        asked = self.headers.get("Range")
        if body:
            self.ranges.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        end = int(asked.rpartition("-")[2] or len(CONTENT) - 1) if asked else len(CONTENT) - 1
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end + 1 - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(CONTENT)}")
        self.end_headers()
        if body:
            self.wfile.write(CONTENT[start : end + 1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    Files.ranges.clear()
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()


def run(tool: str, folder: Path, downloads: list[Download]) -> subprocess.CompletedProcess[str]:
    if shutil.which(NEEDS[tool]) is None and "CI" not in os.environ:  # CI installs all of them
        pytest.skip(f"{NEEDS[tool]} is not installed")
    path = folder / TOOLS[tool].file_name
    path.write_text(script(tool, downloads), "utf-8")
    return subprocess.run([*RUN[tool], path.name], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_script_fetches_verifies_resumes_and_refuses_wrong_bytes(server: str, tmp_path: Path, tool: str) -> None:
    right, wrong = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
    name = "plain.bin" if tool == "rclone" else HOSTILE.replace("/", "")
    good = Download(f"{server}/{tool}/a", f"places/2021/{name}", len(CONTENT), right)
    part = tmp_path / "places" / "2021" / f"{name}.part"
    if tool != "aria2":
        part.parent.mkdir(parents=True)
        part.write_bytes(CONTENT[:300_000])  # an earlier run was stopped here
    Files.ranges.clear()
    done = run(tool, tmp_path, [good])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "places" / "2021" / name).read_bytes() == CONTENT
    assert not (tmp_path / "pwned").exists()
    assert not part.exists()
    if tool not in ("aria2", "rclone"):
        assert ("bytes=300000" in str(Files.ranges[0][1]), len(Files.ranges)) == (True, 1)
    Files.ranges.clear()
    assert run(tool, tmp_path, [good]).returncode == 0
    if tool != "aria2":  # it opens the address, and reads nothing
        assert Files.ranges == []
    bad = Download(f"{server}/{tool}/b", "places/bad.bin", len(CONTENT), wrong)
    other = Download(f"{server}/{tool}/c", "places/other.bin", len(CONTENT), right)
    done = run(tool, tmp_path, [bad, other])
    assert done.returncode != 0
    if tool != "aria2":  # it leaves the file under its name, and says so
        assert not (tmp_path / "places" / "bad.bin").exists()
    assert (tmp_path / "places" / "other.bin").read_bytes() == CONTENT  # one failure stops no other file


@pytest.mark.parametrize("path", ["../up", "/abs", "a//b", "a/./b", "a\nb", "a\\b", ""])
def test_paths_that_leave_the_folder_are_refused(path: str) -> None:
    for tool in TOOLS:
        with pytest.raises(DataError):
            script(tool, [Download("https://example.ca/a", path, 1, "0" * 64)])


def test_an_address_is_quoted_for_each_language() -> None:
    url = "https://example.ca/a b/é'$(x)`y`\"z"
    for tool in ("curl", "wget", "aria2", "python", "r"):
        text = script(tool, [Download(url, "a", 1, "0" * 64)])
        assert "`y`" not in text
        assert "a%20b" in text
