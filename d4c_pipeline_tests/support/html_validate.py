"""html-validate over pages, installed by npm from the lock in `html_validate/`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from d4c_pipeline_tests.support.npm import Installed

_AT_ONCE = 200  # files on a command line


def html_faults(pages: Iterable[Path], folder: Path) -> list[str]:
    """Return each fault with its page and line; `folder`: an empty folder for the program."""
    installed = Installed.of("html_validate", folder)
    program = "node_modules/html-validate/bin/html-validate.mjs"
    options = ("--config", str(installed.tree / "config.json"), "--formatter", "json")
    files = [str(page) for page in pages]
    assert files
    found: list[str] = []
    for start in range(0, len(files), _AT_ONCE):
        done = installed.run(program, *options, *files[start : start + _AT_ONCE])
        assert done.returncode in (0, 1), done.stderr
        for file in json.loads(done.stdout):
            found += [f"{file['filePath']}:{each['line']} {each['message']}" for each in file["messages"]]
    return found
