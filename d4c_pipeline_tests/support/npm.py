"""Programs of npm, installed from a lock among the tests into a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.portal.make_bundle import node_and_npm

_LOCKS = Path(__file__).parent.parent
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline")


@dataclass(frozen=True)
class Installed:
    """A copy of a locked folder with its `node_modules`."""

    tree: Path

    @classmethod
    def of(cls, name: str, folder: Path) -> Installed:
        """Install the packages of the lock in the folder `name` of the tests; `folder`: an existing folder for them."""
        installed = cls(folder / name)
        shutil.copytree(_LOCKS / name, installed.tree)
        node, npm = node_and_npm()
        installed._run([node, npm, *_INSTALL]).check_returncode()
        return installed

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the tree by node in the tree; its code may be any."""
        node, _ = node_and_npm()
        return self._run([node, str(self.tree / script), *arguments])

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
        return subprocess.run(command, cwd=self.tree, env=environment, capture_output=True, text=True, check=False)
