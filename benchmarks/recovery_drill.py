"""The drill of docs/recovery.md: publish the demo, back it up, lose the machine, restore, mend, publish again.

Two disasters: the ledger's disk is lost and the stores survive; the home is lost and only the archive survives. Prints
how long each step took and what was still missing at its end. `make drill` runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "d4c_pipeline.commands.main"]


def d4c(home: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[Any, float]:
    """Run a command on `home`; return what it printed as JSON, and its seconds."""
    begun = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *arguments, "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "D4C_HOME": str(home)},
    )
    seconds = time.monotonic() - begun
    if done.returncode not in codes:
        sys.exit(f"d4c {' '.join(arguments)} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    return json.loads(done.stdout), round(seconds, 1)


def recover(name: str, home: Path, file: Path, published: int) -> dict[str, Any]:
    """Restore into `home`, mend what differs, publish again, and return the seconds of each step."""
    answer, restore_s = d4c(home, "restore", str(file))
    found = [f"{each['kind']}: {each['subject']}" for each in answer["differences"]]
    mend_s = 0.0
    if found:
        _, verify_s = d4c(home, "verify", codes=(0, 1))
        _, repair_s = d4c(home, "repair", "--refill", "primary", codes=(0, 1))
        _, rebuild_s = d4c(home, "catalogue", "rebuild")
        _, reissue_s = d4c(home, "torrents", "reissue")
        _, portal_s = d4c(home, "portal", "build")
        mend_s = round(verify_s + repair_s + rebuild_s + reissue_s + portal_s, 1)
    left, _ = d4c(home, "reconcile", codes=(0, 1))
    again, publish_s = d4c(home, "demo")
    releases, _ = d4c(home, "releases")
    assert len(releases) == published, "publishing again after a recovery makes no release"
    facts = {
        "disaster": name,
        "differences": len(found),
        "restore_s": restore_s,
        "mend_s": mend_s,
        "publish_s": publish_s,
        "recovery_s": round(restore_s + mend_s, 1),
        "left": [f"{each['kind']}: {each['detail']}" for each in left],
        "releases": len(releases),
    }
    print(json.dumps(facts), flush=True)
    assert again
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same; the drill is short")
    parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d4c-drill-") as name:
        folder = Path(name)
        home, file = folder / "home", folder / "backup.tar.gz"
        _, demo_s = d4c(home, "demo")
        releases, _ = d4c(home, "releases")
        stated, backup_s = d4c(home, "backup", str(file))
        print(json.dumps({"demo_s": demo_s, "backup_s": backup_s, "backup_bytes": stated["size"]}), flush=True)
        stores = folder / "stores survive"
        for part in ("store", "archive"):
            shutil.copytree(home / part, stores / part)
        alone = folder / "archive survives"
        shutil.copytree(home / "archive", alone / "archive")
        shutil.rmtree(home)
        first = recover("the ledger's disk", stores, file, len(releases))
        recover("everything but the archive", alone, file, len(releases))
        assert first["left"] == [], first["left"]


if __name__ == "__main__":
    main()
