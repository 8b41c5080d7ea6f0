"""Every moment of death: the sweeps that CI only samples, with each moment tried.

Chain, switch of `/processed/`, move out of hiding and retention are killed before every durable act and around every
call of a bucket, and run again. `--quick` samples one sweep. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "d4c_pipeline_tests"
SWEEPS = (
    "integration/chain/test_crashes.py",
    "integration/chain/test_hidden.py",
    "integration/chain/test_partitioned_switch.py",
    "integration/upkeep/retention/test_retention_killed.py",
    "integration/stores/test_moving.py",
    "integration/stores/test_s3_crashes.py",
    "end_to_end/test_kill.py",
)
QUICK = ("integration/chain/test_partitioned_switch.py::test_a_switch_killed_anywhere_ends_right",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sample one sweep, in under a minute")
    quick = parser.parse_args().quick
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        names = [str(TESTS / name) for name in (QUICK if quick else SWEEPS)]
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-k",
                "killed",
                "--timeout",
                "7200",
                f"--junit-xml={report}",
                *names,
            ],
            cwd=ROOT,
            env={**os.environ, "D4C_TEST_EVERY": "5" if quick else "1"},
            check=False,
        )
        suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 - written by our own pytest
        assert suite is not None
        counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    print(
        json.dumps(
            {
                "sweeps": counts["tests"] - counts["skipped"],
                "survived": counts["tests"] - counts["skipped"] - counts["failures"] - counts["errors"],
                "seconds": round(time.monotonic() - begun),
            }
        )
    )


if __name__ == "__main__":
    main()
