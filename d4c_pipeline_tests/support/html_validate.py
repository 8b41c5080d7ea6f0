"""html-validate over pages, installed by npm from the lock in `html_validate/`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from d4c_pipeline.portal.make_bundle import node_and_npm

_LOCKED = Path(__file__).parent.parent / "html_validate"
_AT_ONCE = 200  # files on a command line


def html_faults(pages: Iterable[Path], folder: Path) -> list[str]:
    """Return each fault with its page and line; `folder`: an empty folder for the program."""
    node, npm = node_and_npm()
    tree = folder / "html-validate"
    shutil.copytree(_LOCKED, tree)
    environment = os.environ | {"PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
    install = [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"]
    subprocess.run(install, cwd=tree, env=environment, check=True, capture_output=True)
    program = tree / "node_modules" / "html-validate" / "bin" / "html-validate.mjs"
    command = [node, str(program), "--config", str(tree / "config.json"), "--formatter", "json"]
    files = [str(page) for page in pages]
    assert files
    found: list[str] = []
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        done = subprocess.run([*command, *some], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        for file in json.loads(done.stdout):
            found += [f"{file['filePath']}:{each['line']} {each['message']}" for each in file["messages"]]
    return found
