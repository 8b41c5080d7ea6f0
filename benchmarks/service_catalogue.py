"""Makes a home whose store has a catalogue of N datasets, for the benchmarks of the services.

Run `.venv/bin/python benchmarks/service_catalogue.py HOME [--datasets N] [--releases N]`; other benchmarks call `make`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from d4c_pipeline_tests.support.many_datasets import make

__all__ = ["make"]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--datasets", type=int, default=20_000)
    parser.add_argument("--releases", type=int, default=1)
    arguments = parser.parse_args()
    make(arguments.home, arguments.datasets, releases=arguments.releases)
