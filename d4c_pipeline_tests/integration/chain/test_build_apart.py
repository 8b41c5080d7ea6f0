"""The build of a vintage in a process of its own: a crash costs one step, an earlier release and the run stay whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import processed
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import apart
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.fakes import child_work
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import published
from d4c_pipeline_tests.support.samples import PLACES_URL, define

V2021 = Vintage.parse("2021")


def limited(chain: Chain, **limits: int) -> None:
    chain.opened = replace(chain.opened, settings=chain.opened.settings.model_copy(update=limits))


def test_the_same_bytes_and_facts_as_in_this_process(chain: Chain, tmp_path: Path) -> None:
    chain.run("raw")
    (native,) = chain.opened.ledger.natives.current("places", V2021, chain.dataset.source.addresses(V2021))
    path = processed.native_path(chain.opened, chain.dataset, V2021, native)
    here = build(chain.dataset, V2021, [path], tmp_path / "here")
    there = processed.process(chain.opened, chain.dataset, V2021)
    assert there.paths[0].read_bytes() == here.data.read_bytes()
    assert there.profile.read_bytes() == here.profile.read_bytes()
    assert there.summary.to_json() == here.summary.to_json()
    assert there.parameters == json.loads(json.dumps(here.parameters))
    assert sorted(path.name for path in there.profile.parent.parent.iterdir()) == ["build"]


FATES: dict[str, tuple[Any, dict[str, int], str]] = {
    "crash": (
        child_work.make_with_a_reader_that_crashes,
        {},
        r" crashed while reading places_2021\.geojson by SIGSEGV \(in processing/\S+, line \d+\)",
    ),
    "memory": (
        child_work.make_greedily,
        {"build_memory": 800_000_000},
        r"^The build of places 2021 was ended while reading \S+: it used more than 0\.8 GB.*raise D4C_BUILD_MEMORY\.$",
    ),
    "time": (
        child_work.make_without_end,
        {"build_seconds": 2},
        r"^The build of places 2021 was ended while reading places_2021\.geojson: .*than 2 seconds.*D4C_BUILD_SECONDS",
    ),
    "a link for a file": (
        child_work.make_and_name_a_link,
        {},
        r"^The build names a file that it did not make: profile\.json\. Inspect the native file with care",
    ),
}


@pytest.mark.parametrize("fate", FATES)
def test_what_becomes_of_it_costs_one_step(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, definitions: Path, fate: str
) -> None:
    chain.run()
    before = published(chain.home)
    make, limits, message = FATES[fate]
    opened = chain.opened
    limited(chain, **limits)
    with monkeypatch.context() as patched:
        patched.setattr(apart, "make", make)
        with pytest.raises(DataError, match=message):
            chain.run("processed")
    staging = chain.home / "staging" / "places" / "2021"
    assert not (staging / "scratch").exists()
    assert [path.name for path in staging.rglob(".*")] == []
    assert not (staging / "build" / "build.json").exists()
    assert published(chain.home) == before
    # The next run goes on where it should.
    chain.opened = opened
    define(definitions, sql="SELECT id, upper(name) AS name, population, geometry FROM source")
    chain.run()
    assert str(chain.newest().version) == "0.1.1-beta"


def test_a_geopackage_without_end_is_ended(chain: Chain, definitions: Path, tmp_path: Path) -> None:
    url = f"{PLACES_URL.rpartition('/')[0]}/places.gpkg"
    child_work.endless_geopackage(tmp_path / "places.gpkg")
    chain.origin.put(url, (tmp_path / "places.gpkg").read_bytes())
    define(definitions, source={"kind": "http", "urls": [url]})
    limited(chain, build_seconds=3)
    chain.run("raw")
    with pytest.raises(DataError, match=r"was ended while \w+ places\.gpkg: it took longer than 3 seconds"):
        chain.run("processed")
