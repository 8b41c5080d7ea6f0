"""What a search costs: two words over a catalogue of made-up datasets, every second request with all facets.

Run `.venv/bin/python benchmarks/search.py [--datasets N] [--quick]`. One client, one request after the other, after the
index is built; milliseconds of the clock, HTTP included. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from d4c_pipeline_tests.support.found import serving
from d4c_pipeline_tests.support.many_datasets import PLACES, SUBJECTS, make
from d4c_pipeline_tests.support.ports import free_port

_REQUESTS = 300


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="2,000 datasets")
    options = parser.parse_args()
    print(json.dumps(measured(2_000 if options.quick else options.datasets)))


def measured(count: int) -> dict[str, float]:
    """Return the figures of a catalogue of `count` datasets."""
    chance, took = random.Random(1), list[float]()  # noqa: S311 - words of a test
    words = [word for pair in SUBJECTS for text in pair for word in text.split()] + [str(place) for place in PLACES]
    with tempfile.TemporaryDirectory(prefix="d4c-search-") as folder:
        make(Path(folder), count)
        began = time.perf_counter()
        with serving(Path(folder), free_port(), ("search",)) as served:
            index = time.perf_counter() - began
            for number in range(_REQUESTS):
                parameters = {"q": " ".join(chance.sample(words, 2)), **({"facet": "all"} if number % 2 else {})}
                began = time.perf_counter()
                served.client.get("/search", params=parameters).raise_for_status()
                took.append((time.perf_counter() - began) * 1_000)
    figures = {"datasets": count, "index_s": round(index, 1), "search_p50_ms": round(statistics.median(took), 1)}
    return figures | {"search_p95_ms": round(statistics.quantiles(took, n=20)[18], 1)}


if __name__ == "__main__":
    main()
