"""How many ways of failing a deposit survives: every call to an InvenioRDM broken in every way, then a plain run again.

Run `.venv/bin/python benchmarks/deposit_faults.py [--quick]`. The server is a fake on the loopback that answers as a
real InvenioRDM was recorded to. Then comes what hands and lost disks do between two publications (`fakes/hands.py`).
`--quick` tries a diagonal of the matrix. Cells are survived/tried. The last line is one JSON object: cases tried, cases
that ended in exactly one published record per release with exactly its files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from d4c_pipeline_tests.fakes import hands, matrix
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio

_QUICK = 5  # two or three kinds of fault per call, in turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each call with some kinds of fault")
    options = parser.parse_args()
    tried: list[tuple[matrix.Case, str | None]] = []
    with tempfile.TemporaryDirectory(prefix="d4c-faults-") as folder, FakeInvenio() as fake:
        for start in matrix.starts(Path(folder), fake):
            for case in matrix.cases(start, every=_QUICK if options.quick else 1):
                wrong = matrix.try_case(case, Path(folder))
                tried.append((case, wrong))
                if wrong is not None:
                    print(f"{case.name}: {wrong}", file=sys.stderr)
        os.environ["D4C_ARCHIVE_TOKEN"] = TOKEN
        between = {name: hands.try_hand(name, Path(folder), fake) for name in hands.CASES}
    print(matrix.table(tried))
    for name, wrong in between.items():
        print(f"{name}: {wrong or 'nothing overwritten that we did not put there'}")
    survived = sum(wrong is None for _, wrong in tried) + sum(wrong is None for wrong in between.values())
    cases = len(tried) + len(between)
    print(json.dumps({"cases": cases, "survived": survived}))
    sys.exit(survived < cases)


if __name__ == "__main__":
    main()
