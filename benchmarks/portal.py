"""Times a build of the portal over many datasets, and of one changed release, without ledger and stores.

Each dataset has three releases, whose facts are samples with 20 columns. Prints one line of JSON: datasets, releases,
pages (both languages), seconds of the complete build, CPU milliseconds per page, seconds after one release changed, and
the peak memory of the process in MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from d4c_pipeline.metadata.published import ListedRelease, PublishedMetadata
from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import ReleaseFacts
from d4c_pipeline.portal.site import Built, Site
from d4c_pipeline.portal.state import State
from d4c_pipeline_tests.support.pages import SITE, some_facts
from d4c_pipeline_tests.support.published import a_published

VERSIONS = ("1.0.0", "1.0.1", "1.1.0")
COLUMNS = tuple(Column(f"column_{n}", ("string", "int64")[n % 2], None, "Meaning", "Signification") for n in range(20))


def releases(number: int, edition: str = "") -> list[ReleaseFacts]:
    """The facts of a dataset, the newest release first."""
    return [replace(each, published=renamed(each.published, number), commit=edition or each.commit) for each in SAMPLES]


def listed(published: PublishedMetadata) -> ListedRelease:
    """The release as lists have it."""
    return ListedRelease(**{field.name: getattr(published, field.name) for field in fields(ListedRelease)})


def renamed(published: PublishedMetadata, number: int) -> PublishedMetadata:
    return replace(published, dataset=f"dataset_{number:05}")


def samples() -> Iterator[ReleaseFacts]:
    newest = VERSIONS[-1]
    made = [
        a_published(
            version=version, columns=COLUMNS, newest=newest, superseded_by=None if version == newest else newest
        )
        for version in VERSIONS
    ]
    for published in reversed(made):
        yield some_facts(published, versions=tuple(listed(each) for each in reversed(made)))


SAMPLES = list(samples())


def build(folder: Path, marks: dict[str, str]) -> Built:
    with State(folder) as state:
        site = Site(folder, state, SITE, Bundle.read())
        for name in site.changed(marks):
            site.dataset(marks[name], releases(int(name.rpartition("_")[2]), marks[name]))
        return site.finish(marks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    count = 50 if options.quick else options.datasets
    marks = {f"dataset_{number:05}": "a" * 40 for number in range(count)}
    with tempfile.TemporaryDirectory() as name:
        begun, used = time.perf_counter(), time.process_time()
        built = build(Path(name), marks)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - used
        marks["dataset_00000"] = "b" * 40
        begun = time.perf_counter()
        again = build(Path(name), marks)
        one = time.perf_counter() - begun
    assert 0 < again.written < built.written, again
    print(
        json.dumps(
            {
                "datasets": count,
                "releases": count * len(VERSIONS),
                "pages": built.pages,
                "build_s": round(seconds, 2),
                "cpu_ms_per_page": round(cpu / built.pages * 1000, 2),
                "one_release_s": round(one, 2),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
