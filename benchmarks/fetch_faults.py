"""The matrix of faults: what an origin does wrong x source x what came of it.

Run `.venv/bin/python benchmarks/fetch_faults.py [--quick]`. Prints a line per fault with the result of each source.
The last line is one JSON object: `cases` that were run, how many of them `survived` (the right bytes, or the refusal
that is due, with a remedy), and `refetched_ratio`: bytes sent more than once as a share of the file, on average
over the faults after which the rest can be asked for; of a layer, that is the page that broke.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from d4c_pipeline_tests.support.source_matrix import CASES, SOURCES, cells, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the plain HTTP source")
    sources = ["http"] if parser.parse_args().quick else list(SOURCES)
    wanted = [(case, source) for case, source in cells() if source in sources]
    survived, refetched = 0, []
    print(f"{'':34}{''.join(f'{source:>15}' for source in sources)}")
    with tempfile.TemporaryDirectory(prefix="d4c-faults-") as folder:
        for row, case in enumerate(CASES):
            told = []
            for source in sources:
                if (case, source) not in wanted:
                    told.append("-")
                    continue
                outcome = run(case, source, Path(folder) / f"{row}-{source}")
                survived += outcome.survived
                if case.refetch == 0 and (case.error is None or case.then_well):
                    refetched.append(outcome.refetched)
                what = "refused" if case.error is not None and not case.then_well else f"+{outcome.refetched:.1%}"
                told.append(what if outcome.survived else "FAILED")
            print(f"{case.name:34}{''.join(f'{each:>15}' for each in told)}")
    ratio = sum(refetched) / len(refetched)
    print(json.dumps({"cases": len(wanted), "survived": survived, "refetched_ratio": round(ratio, 4)}))


if __name__ == "__main__":
    main()
