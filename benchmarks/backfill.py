"""`d4c backfill` over many vintages: first releases, then new code that changes every fourth vintage.

Prints the number of vintages with each outcome, the seconds for each, and whether the releases are the expected ones:
`.venv/bin/python benchmarks/backfill.py --partitions 1000`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

from d4c_pipeline.chain.dry_run import retained
from d4c_pipeline.ledger.backfills import Backfill
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration import backfilling
from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

_EVERY = 4
_SQL = (
    "SELECT id, name, population + (day(getvariable('vintage')::DATE) % 4 = 0)::INT AS population, geometry FROM source"
)


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four partitions")
    parser.add_argument("--partitions", type=int, default=1000)
    options = parser.parse_args()
    wanted = 4 if options.quick else options.partitions
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(wanted)]
    with tempfile.TemporaryDirectory(prefix="d4c-backfill-") as folder:
        root = Path(folder)
        settings = _prepared(root, [str(day) for day in days])
        first, seconds_first = _backfill(settings, "first releases")
        define(settings.definitions[0], vintages=[str(day) for day in days], sql=_SQL)
        second, seconds_second = _backfill(settings, "population counted again")
        with Deployment.open(settings, archive=False) as opened:
            released = Counter(str(release.vintage) for release in opened.ledger.releases.published("places"))
    changed = sum(day.day % _EVERY == 0 for day in days)
    expected = all(released[str(day)] == 1 + (day.day % _EVERY == 0) for day in days)
    print(
        json.dumps(
            {
                "partitions": wanted,
                "first": dict(first.outcomes),
                "second": dict(second.outcomes),
                "expected_changed": changed,
                "releases_as_expected": expected and len(released) == wanted,
                "seconds_a_release": round(seconds_first / wanted, 2),
                "seconds_a_vintage_mostly_unchanged": round(seconds_second / wanted, 2),
            }
        )
    )


def _prepared(root: Path, vintages: list[str]) -> Settings:
    """Return the settings of a home whose dataset has all vintages retained and none published."""
    define(root / "definitions", vintages=vintages)
    origin = Origin(root / "origin")
    origin.host(HOST)
    for vintage in vintages:
        origin.put(f"{HOST}/places_{vintage}.geojson", geojson())
    settings = Settings(home=root / "home", definitions=(root / "definitions",), origins=origin.origins)
    (dataset,) = read_definitions(root / "definitions" / "places" / "defs.yaml")
    with Deployment.open(settings) as opened:
        for vintage in vintages:
            STEPS["raw"](opened, dataset, Vintage.parse(vintage))
    origin.close()
    return settings


def _backfill(settings: Settings, reason: str) -> tuple[Backfill, float]:
    (dataset,) = read_definitions(settings.definitions[0] / "places" / "defs.yaml")
    known = {dataset.id: dataset}
    began = time.monotonic()
    with Deployment.open(settings, archive=False) as opened:
        begun = backfilling.begin(
            opened, retained(opened, known, dataset=dataset.id), [], scope=dataset.id, reason=reason, who="benchmark"
        )
    ended = backfilling.work(settings, begun.id, known, [], [dataset], lambda *_: None)
    return ended, time.monotonic() - began


if __name__ == "__main__":
    main()
