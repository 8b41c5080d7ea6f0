"""`d4c backfill` over many vintages, cancelled in the middle and resumed.

A tenth of the vintages is published beforehand. Then new SQL changes the data of every fourth day, and one backfill
processes all retained vintages: those never published are published, those published before get a release only where
their data changed. `.venv/bin/python benchmarks/backfill.py --partitions 1000`. Progress is printed every 50 vintages;
the last line is a JSON object. The status is 1 when a release is missing or superfluous.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
from orchestration import plain

from d4c_pipeline.chain.dry_run import retained
from d4c_pipeline.ledger.backfills import Backfill, BackfillOutcome, BackfillState
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration import backfilling
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

_SQL = (
    "SELECT id, name, population + (day(getvariable('vintage')::DATE) % 4 = 0)::INT AS population, geometry FROM source"
)
_PLAIN_RUNS = 5


@dataclass
class Worked:
    """What the parts of a backfill did, and when each vintage ended (wall and CPU seconds, with the build's)."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    ends: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten partitions")
    parser.add_argument("--partitions", type=int, default=1000)
    options = parser.parse_args()
    wanted = 10 if options.quick else options.partitions
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(wanted)]
    with tempfile.TemporaryDirectory(prefix="d4c-backfill-") as folder:
        figures = measure(Path(folder), days)
    print(json.dumps(figures))
    if figures["completed"] != wanted or figures["unchanged_released"] or not figures["releases_as_expected"]:
        sys.exit(1)


def measure(root: Path, days: Sequence[date]) -> dict[str, object]:
    """Publish a tenth, then work on all vintages in two halves; return the figures."""
    vintages = [str(day) for day in days]
    settings = _prepared(root, vintages)
    known_before = days[::10]
    define(settings.definitions[0], vintages=[str(day) for day in known_before])
    _begin_and_work(settings, "first releases", Worked(), [str(day) for day in known_before])

    define(settings.definitions[0], vintages=vintages, sql=_SQL)
    worked = Worked()
    begun = time.monotonic()
    first = _begin_and_work(settings, "population counted again", worked, vintages, until=len(days) // 2)
    cancelled_with = first.left
    assert first.state is BackfillState.CANCELLED
    seconds = time.monotonic() - begun
    one_plain = _plain_seconds(root / "plain")
    begun = time.monotonic()
    ended = _work(settings, first.id, worked)
    seconds += time.monotonic() - begun
    assert ended.state is BackfillState.DONE

    with Deployment.open(settings) as opened:
        releases = Counter(str(release.vintage) for release in opened.ledger.releases.published("places"))
        records = sum(1 for _ in opened.archive.listed())
    unchanged = [day for day in known_before if day.day % 4]
    expected = {str(day): 2 if day in known_before and day.day % 4 == 0 else 1 for day in days}
    tenth = max(len(days) // 10, 2)
    return {
        "partitions": len(days),
        "completed": sum(worked.outcomes.values()),
        "released": worked.outcomes[BackfillOutcome.PUBLISHED.value],
        "unchanged": worked.outcomes[BackfillOutcome.UNCHANGED.value],
        "unchanged_released": sum(releases[str(day)] - 1 for day in unchanged),
        "releases_as_expected": releases == expected and records == sum(expected.values()),
        "left_when_cancelled": cancelled_with,
        "seconds": round(seconds),
        "vs_plain_backfill": round(seconds / len(days) / one_plain, 2),
        "cpu_s_per_vintage_first_tenth": _cpu_each(worked.ends[:tenth]),
        "cpu_s_per_vintage_last_tenth": _cpu_each(worked.ends[-tenth:]),
    }


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


def _begin_and_work(
    settings: Settings, reason: str, worked: Worked, vintages: list[str], until: int | None = None
) -> Backfill:
    """Begin a backfill of these vintages and work on it; cancel it after `until` of them."""
    known = _known(settings)
    with Deployment.open(settings, archive=False) as opened:
        chosen = [each for each in retained(opened, known, dataset="places") if str(each[1]) in vintages]
        begun = backfilling.begin(opened, chosen, [], scope="places", reason=reason, who="benchmark")
    return _work(settings, begun.id, worked, until)


def _work(settings: Settings, number: int, worked: Worked, until: int | None = None) -> Backfill:
    """Work on a backfill as `d4c backfill` does; another command cancels it after `until` vintages."""

    def done(_of: str, _vintage: Vintage, outcome: BackfillOutcome, _detail: str) -> None:
        worked.outcomes[outcome.value] += 1
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        worked.ends.append((time.monotonic(), sum(each.ru_utime + each.ru_stime for each in used)))
        count = len(worked.ends)
        if count % 50 == 0:
            wall, cpu = (now - then for now, then in zip(worked.ends[-1], worked.ends[-50], strict=True))
            print(f"{count} vintages {dict(worked.outcomes)}; the last 50: {wall:.0f} s, CPU {cpu:.0f} s", flush=True)
        if count == until:
            with Deployment.open(settings, archive=False) as opened:
                backfilling.cancel(opened, number)

    known = _known(settings)
    return backfilling.work(settings, number, known, [], list(known.values()), done)


def _known(settings: Settings) -> dict[str, Dataset]:
    (dataset,) = read_definitions(settings.definitions[0] / "places" / "defs.yaml")
    return {dataset.id: dataset}


def _plain_seconds(home: Path) -> float:
    """Return the seconds of a run of plain Dagster with empty assets, in process; the first run imports."""
    logging.getLogger("dagster").setLevel("CRITICAL")
    keys = [str(number) for number in range(_PLAIN_RUNS + 1)]
    chain = [each for each in plain(1, keys).assets or () if isinstance(each, dg.AssetsDefinition)]
    ends: list[float] = []
    for key in keys:
        with embedded_instance(Settings(home=home)) as instance:
            config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            assert dg.materialize(chain, instance=instance, partition_key=key, run_config=config).success
        ends.append(time.monotonic())
    return (ends[-1] - ends[0]) / _PLAIN_RUNS


def _cpu_each(ends: Sequence[tuple[float, float]]) -> float:
    return round((ends[-1][1] - ends[0][1]) / (len(ends) - 1), 2)


if __name__ == "__main__":
    main()
