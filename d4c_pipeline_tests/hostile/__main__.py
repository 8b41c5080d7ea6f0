"""Try attacks whose names come line by line, and answer each with a line of JSON: what is wrong with its end, or null.

Run `python -m d4c_pipeline_tests.hostile < names`. The process imports the platform once and forks for each attack, so
that a crash ends nothing but the attack.
"""

from __future__ import annotations

import importlib
import json
import sys

import geopandas  # noqa: F401 - before the platform, which imports pyogrio without the data frames that writing wants

import d4c_pipeline.readers.delivery
import d4c_pipeline.readers.vector  # noqa: F401 - before the first fork
from d4c_pipeline_tests import hostile
from d4c_pipeline_tests.hostile.attack import Attack, tried


def main() -> None:
    """Answer until there are no more names."""
    for module in hostile.MODULES:
        importlib.import_module(f"d4c_pipeline_tests.hostile.{module}")
    known: dict[str, Attack] = hostile.attacks()
    for line in sys.stdin:
        attack = known[line.rstrip("\n")]
        outcome = tried(attack)
        sys.stdout.write(json.dumps([attack.name, outcome.wrong(attack), outcome.end, outcome.seconds]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
