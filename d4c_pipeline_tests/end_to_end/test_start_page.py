"""The commands of docs/start.md do what the page says, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from d4c_pipeline_tests.support.commands import D4C, ROOT


def test_the_start_page_ends_with_a_corrected_release(d4c: D4C, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert [block.splitlines()[0] for block in blocks] == [
        "make setup",
        "mkdir -p delivered/2026 definitions/city_stops",
        "d4c datasets",
        "sed -i 's/Harbour/Harbour Front/' delivered/2026/stops.csv",
    ]
    folder = tmp_path / "work"
    folder.mkdir()
    d4c.settings["D4C_DEFS"] = str(folder / "definitions")
    d4c.cwd = folder
    outputs: list[str] = []
    for block in blocks[1:]:
        lines = block.splitlines()
        ours = [line for line in lines if line.startswith("d4c ")]
        script = "\n".join(line for line in lines if line not in ours)
        subprocess.run(["bash", "-euc", script], cwd=folder, check=True, env={"PATH": os.environ["PATH"]})
        for line in ours:
            done = d4c(*shlex.split(line)[1:])
            assert done.code == 0, (line, done.stderr)
            outputs.append(done.stdout)
    listed, published, releases, query, corrected, again = outputs
    assert "city_stops" in listed
    assert "published" in published
    assert "1.0.0" in releases
    assert "10.5072/" in query
    assert "1.0.1" in corrected
    assert "1.0.0" in again
    assert "1.0.1" in again
