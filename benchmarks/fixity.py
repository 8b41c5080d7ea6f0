"""How much of the rot in many copies an audit finds, and how much of it is mended.

Run `.venv/bin/python benchmarks/fixity.py [--quick]`. Releases lie in three stores and the local archive; a fifth of
all copies is flipped, cut, lengthened, overwritten or deleted, of some files every copy. What is right is read from
the disk afterwards, past the code that is measured. The last line is one JSON object; `repairable`: damaged copies in
stores of which some untouched copy has the bytes. Exit code 1 when anything was missed, or reported and never damaged.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from d4c_pipeline.model.fixity import FixityPolicy
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import repair
from d4c_pipeline_tests.fakes import rot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the copies")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    dice = random.Random(options.seed)  # noqa: S311 - not for cryptography
    with (
        tempfile.TemporaryDirectory(prefix="d4c-rot-") as folder,
        rot.deployment(Path(folder), stores=3) as deployment,
    ):
        copies = rot.fill(deployment, 200 if options.quick else 1000, dice, size=200_000)
        harmed = rot.rot(deployment, 0.2, dice)
        began = time.perf_counter()
        found = audit(deployment, FixityPolicy(), full=True)
        audited = time.perf_counter()
        done = repair(deployment)
        mended = time.perf_counter()
        reported = {look.copy for look in found.lost}
        repaired = {copy for copy in harmed.mendable if rot.is_right(deployment, copy)}
        wrong = {copy for copy in expected_copies(deployment) if not rot.is_right(deployment, copy)}
        print(f"audit: {found.read_bytes / 1e6:.1f} MB of {copies} copies in {audited - began:.1f} s")
        print(f"damaged by kind: {dict(Counter(copy.kind.value for copy in harmed.copies))}")
        print(f"reported and never damaged: {len(reported - harmed.copies)}")
        print(f"repair: {dict(Counter(one.outcome.value for one in done))} in {mended - audited:.1f} s")
        figures = {
            "copies": copies,
            "damaged": len(harmed.copies),
            "found": len(reported & harmed.copies),
            "repairable": len(harmed.mendable),
            "repaired": len(repaired),
        }
        print(json.dumps(figures))
        sys.exit(reported != harmed.copies or wrong != harmed.copies - harmed.mendable)


if __name__ == "__main__":
    main()
