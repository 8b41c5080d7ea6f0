"""What a list of submissions costs: the manager's page over HTTP, and the query of the ledger behind it.

Run `.venv/bin/python benchmarks/submissions.py [--submissions N] [--quick]`. One client, one request after the other;
milliseconds of the clock. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from d4c_pipeline_tests.support.submission_face import faced
from d4c_pipeline_tests.support.submitted import submission

_TIMES = 20


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true", help="the same: it takes some seconds")
    options = parser.parse_args()
    os.environ["D4C_SUBMISSIONS"] = "1"
    with tempfile.TemporaryDirectory(prefix="d4c-submissions-") as folder, faced(Path(folder)) as face:
        for number in range(options.submissions):
            face.ledger.submissions.add(submission(title=f"Trees of {number}"))
        pages = measured(lambda: face.manager.get("/submissions").raise_for_status())
        queries = measured(face.ledger.submissions.lines)
    figures = {"submissions": options.submissions, "query_p50_ms": round(statistics.median(queries), 1)}
    figures |= {"page_p50_ms": round(statistics.median(pages), 1), "page_max_ms": round(max(pages), 1)}
    print(json.dumps(figures))


def measured(action: Callable[[], object]) -> list[float]:
    """Return the milliseconds of each of some calls, without those of a first one."""
    action()
    took: list[float] = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        action()
        took.append((time.perf_counter() - began) * 1_000)
    return took


if __name__ == "__main__":
    main()
