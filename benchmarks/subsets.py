"""Whether subsets of every fixture are right in every format: the whole matrix that tests take a sample of.

Run `.venv/bin/python benchmarks/subsets.py [--fixtures FOLDER] [--quick]`. Each fixture that the platform builds is
asked for by a box, by a value, for nothing and for all, in each of the seven formats; what comes back is compared value
by value with what geopandas and pandas compute from the whole file (`support.subset_matrix`). The last line is one JSON
object; `wrong` has to be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from d4c_pipeline.services.subset import Engine
from d4c_pipeline_tests.support.subset_matrix import NATIVES, Whole, cases, differences, released, sampled
from d4c_pipeline_tests.support.subsets import Subsets


def main() -> None:
    """Print what is wrong, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, default=Path(os.environ.get("D4C_FIXTURES", "../shared/fixtures")))
    parser.add_argument("--quick", action="store_true", help="the sample that the tests take")
    options = parser.parse_args()
    chosen = sampled() if options.quick else list(cases())
    began, wrong, wholes = time.perf_counter(), 0, dict[str, Whole]()
    with tempfile.TemporaryDirectory(prefix="d4c-subsets-") as folder, Engine() as engine:
        (results := Path(folder) / "results").mkdir()
        for name in NATIVES:
            (place := Path(folder) / name).mkdir()
            if any(case[0] == name for case in chosen):
                wholes[name] = Whole.of(released(options.fixtures, name, place))
        subsets = Subsets(engine, results)
        for name, form, request in chosen:
            if found := differences(subsets, wholes[name], form, request):
                wrong += 1
                print(f"{name} {form} {request}: {'; '.join(found)}")
    figures = {"releases": len(wholes), "cases": len(chosen), "wrong": wrong}
    print(json.dumps(figures | {"seconds": round(time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
