"""Times a build of the portal over many datasets with three releases each, and of one changed release.

A ledger of published releases with 20 columns is made. The build collects their facts, and renders and writes all pages
with as many processes as there are cores (D4C_THREADS). What is read from the files of a release (values of columns,
picture) is there already, as after an update of d4c: that is read once in the life of a release. Prints one line of
JSON: datasets, releases, pages (both languages), seconds of the complete build, CPU milliseconds per page, seconds
after one release changed, and the peak memory of the largest process in MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy import select, update

from d4c_pipeline.chain.portal import build
from d4c_pipeline.ledger import schema
from d4c_pipeline.model.release import Column
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.portal.facts import ColumnFacts
from d4c_pipeline.portal.state import State
from d4c_pipeline.workspace.deployment import Deployment, portal_folder
from d4c_pipeline_tests.support import catalogued, releases

VERSIONS = 3
COLUMNS = tuple(Column(f"column_{n}", ("string", "int64")[n % 2], None, "Meaning", "Signification") for n in range(20))
HISTOGRAM = (120, 0, 45, *range(1, 18))


def computed() -> dict[str, Any]:
    """What a build keeps of the files of a release."""
    number = ColumnFacts(nulls=1, distinct=3000, least=1, greatest=20_000, histogram=HISTOGRAM)
    text = ColumnFacts(nulls=0, distinct=3, top=(("Ontario", 9), ("Québec", 8), ("Manitoba", 1)))
    columns = {each.name: asdict(text if each.type == "string" else number) for each in COLUMNS}
    libraries = {"duckdb": "1.5.5", "gdal": "3.12.4"}
    return {"columns": columns, "geometries": {}, "picture": None, "commit": "0" * 40, "libraries": libraries}


def published(settings: Settings, datasets: int) -> None:
    """Fill the ledger, and keep for each release what was read from its files."""
    catalogued.VINTAGES, catalogued.VERSIONS = 1, VERSIONS
    kept = computed()
    with (
        columns(),
        Deployment.open(settings, archive=False) as deployment,
        State(portal_folder(settings.home)) as state,
    ):
        catalogued.fill(deployment.ledger, datasets * VERSIONS)
        with catalogued.engine_of(deployment.ledger).connect() as connection:
            for key in connection.execute(select(schema.release.c.key)).scalars():
                state.keep_release(key, kept)


class columns:  # noqa: N801 - a context
    """Releases of the samples have `COLUMNS` meanwhile."""

    def __enter__(self) -> None:
        self._before = dict(releases._COLUMNS)  # noqa: SLF001
        releases._COLUMNS.update(dict.fromkeys(self._before, COLUMNS))  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        releases._COLUMNS.update(self._before)  # noqa: SLF001


def change_one(settings: Settings) -> None:
    """Let a copy of one release be verified again."""
    changed = update(schema.copy).where(schema.copy.c.release_id == 1)
    with (
        Deployment.open(settings, archive=False) as deployment,
        catalogued.engine_of(deployment.ledger).begin() as connection,
    ):
        connection.execute(changed.values(verified_at=datetime(2026, 12, 1, tzinfo=UTC)))


def usage() -> Iterator[resource.struct_rusage]:
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        yield resource.getrusage(who)


def cpu() -> float:
    return sum(each.ru_utime + each.ru_stime for each in usage())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="150 datasets")
    parser.add_argument("--home", type=Path, help="an empty folder for the ledger and the portal, which stay")
    parser.add_argument("--prepare", action="store_true", help="make the ledger in --home, for a later run with --home")
    options = parser.parse_args()
    count = 150 if options.quick else options.datasets
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(home=options.home or Path(name))
        if not (settings.home / "ledger.sqlite").exists():
            published(settings, count)
        if options.prepare:
            return
        with Deployment.open(settings, archive=False) as deployment:
            begun, used = time.perf_counter(), cpu()
            built = build(deployment)
            seconds, spent = time.perf_counter() - begun, cpu() - used
        change_one(settings)
        with Deployment.open(settings, archive=False) as deployment:
            begun = time.perf_counter()
            again = build(deployment)
            one = time.perf_counter() - begun
    assert (built.left_out, built.datasets, built.written) == ((), count, built.pages), built
    assert 0 < again.written < 16, again
    print(
        json.dumps(
            {
                "datasets": count,
                "releases": count * VERSIONS,
                "pages": built.pages,
                "build_s": round(seconds, 2),
                "cpu_ms_per_page": round(spent / built.pages * 1000, 2),
                "one_release_s": round(one, 2),
                "peak_mb": round(max(each.ru_maxrss for each in usage()) / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
