"""Clients that nobody here wrote against the services: client x operation x result, on one catalogue.

Run `.venv/bin/python benchmarks/clients.py [--items N] [--quick] [--only CLIENT]`. The catalogue has N (20,000;
`--quick`: 300) releases, one of them withdrawn, made in a ledger without their files. Cases are those of
`client_cases`. The last line is one JSON object: {"cases", "passed"}.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from client_cases import Case, all_cases

from d4c_pipeline.chain import catalogued_datasets
from d4c_pipeline.chain.site_pages import SitePages
from d4c_pipeline_tests.support.catalogued_home import catalogued_home, served

_MOST = 250  # characters of a result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="300 releases")
    parser.add_argument("--only", help="cases of this client")
    options = parser.parse_args()
    count = 300 if options.quick else options.items
    cases = [each for each in all_cases() if options.only in (None, each.client)]
    _without_documents()
    with tempfile.TemporaryDirectory(prefix="d4c-clients-") as folder:
        began = time.perf_counter()
        settings = catalogued_home(Path(folder), count, rolling=count // 10)
        print(f"catalogue of {count:,} releases in {time.perf_counter() - began:.0f} s", flush=True)
        with served(settings) as url:
            passed = sum(_passes(each, url, count) for each in cases)
    print(json.dumps({"cases": len(cases), "passed": passed}))
    sys.exit(0 if passed == len(cases) else 1)


def _passes(case: Case, url: str, count: int) -> bool:
    try:
        result, passed = case.run(url, count), True
    except Exception as error:  # noqa: BLE001 - whatever a client raises is the result of its case
        result, passed = f"{type(error).__name__}: {error}", False
    print(f"| {case.client} | {case.operation} | {'passed' if passed else 'FAILED'} | {result[:_MOST]} |", flush=True)
    return passed


def _without_documents() -> None:
    """Let the rebuild of this process write both Parquet files alone: no service reads the documents of a release."""
    catalogued_datasets.record_documents = lambda _: ()
    catalogued_datasets._Computation._feeds = lambda *_: ()  # noqa: SLF001
    SitePages.batches = lambda _: ()


if __name__ == "__main__":
    main()
