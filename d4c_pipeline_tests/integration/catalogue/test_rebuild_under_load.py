"""A rebuild blocks no publication, publications that end together succeed, and a killed rebuild changes no byte."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import fill, publish
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import tree_of_facts
from d4c_pipeline_tests.support.samples import DAY, HOST, Origin, corrected
from d4c_pipeline_tests.support.strides import stride

MANY = 600
WRITES_WITHIN = 1.0  # seconds
RUN = "d4c_pipeline_tests.support.steps:run_catalogue"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    serving = Origin(tmp_path / "origin")
    yield serving
    serving.close()


def command(zygote: Zygote, settings: Settings, origin: Origin, **more: str) -> D4C:
    definitions = str(settings.definitions[0]) if settings.definitions else ""
    return D4C(zygote, settings.home, settings.port, origin, {"D4C_DEFS": definitions, **more})


def test_a_publication_writes_to_the_ledger_while_all_is_rebuilt(
    published_home: Settings, zygote: Zygote, origin: Origin, tmp_path: Path
) -> None:
    settings = published_home.model_copy(update={"home": tmp_path / "many"})
    with Deployment.open(settings, archive=False) as opened:
        fill(opened.ledger, MANY)
        rebuilding = command(zygote, settings, origin).start("catalogue", "rebuild", "--json")
        while not opened.ledger.catalogue.requested():
            time.sleep(0.01)
        slowest, written = 0.0, 0
        while not (state := opened.ledger.catalogue.state()) or not state.satisfied:
            began = time.monotonic()
            publish(opened.ledger, MANY + 1 + written, "another", str(1000 + written), "1.0.0")
            slowest, written = max(slowest, time.monotonic() - began), written + 1
            time.sleep(0.05)
        done = rebuilding.wait()
        assert (done.code, done.json["left_out"]) == (0, []), done.stderr
    assert written > 5, "the rebuild ended too early to be measured"
    assert slowest < WRITES_WITHIN


def test_two_publications_that_end_together_both_succeed(
    home_of_releases: Settings, zygote: Zygote, origin: Origin
) -> None:
    origin.put(f"{HOST}/places_2016.geojson", corrected(), DAY + timedelta(days=1))
    origin.put(f"{HOST}/parted_2021.geojson", corrected(), DAY + timedelta(days=1))
    d4c = command(zygote, home_of_releases, origin)
    with Deployment.open(home_of_releases, archive=False) as opened:
        before = opened.ledger.catalogue.requested()
        with opened.ledger.leases.hold(lease_keys.CATALOGUE):
            running = [
                d4c.start("publish", "places", "--vintage", "2016", "--json"),
                d4c.start("publish", "parted", "--vintage", "2021", "--json"),
            ]
            until = time.monotonic() + 60
            while opened.ledger.catalogue.requested() < before + 2:
                assert time.monotonic() < until, "the publications did not come to the catalogue"
                time.sleep(0.05)
        done = [each.wait() for each in running]
    assert [(each.code, each.json["outcome"]) for each in done] == [(0, "published")] * 2, done
    for dataset, vintage in (("places", "2016"), ("parted", "2021")):
        latest = home_of_releases.home / "store" / "catalogue" / dataset / vintage / "latest.json"
        assert json.loads(latest.read_bytes())["properties"]["version"] == "0.1.1-beta"


def one_more(home: Path, settings: Settings) -> dict[str, str]:
    with Deployment.open(settings.model_copy(update={"home": home}), archive=False) as opened:
        publish(opened.ledger, 91, "set_000001", "2021", "1.4.0")
    return {}


def everything(_home: Path, _settings: Settings) -> dict[str, str]:
    return {"D4C_PUBLISHER": "Another name"}  # which makes the rebuild complete


@pytest.mark.parametrize(("change", "every"), [(one_more, stride(23)), (everything, stride(31))])
def test_a_rebuild_after_a_killed_one_gives_the_same_bytes(
    published_home: Settings,
    zygote: Zygote,
    origin: Origin,
    tmp_path: Path,
    change: Callable[[Path, Settings], dict[str, str]],
    every: int,
) -> None:
    def run(home: Path, fatal: str, more: dict[str, str]) -> tuple[int, str]:
        d4c = command(zygote, published_home.model_copy(update={"home": home}), origin, **more)
        done = d4c.start(fatal, function=RUN).wait()
        return done.code, done.stdout if done.code in (0, -9) else done.stderr

    def changed(name: str) -> tuple[Path, dict[str, str]]:
        shutil.copytree(published_home.home, tmp_path / name)
        return tmp_path / name, change(tmp_path / name, published_home)

    def bytes_of(home: Path) -> dict[str, str]:
        return {
            name: sha
            for name, sha in tree_of_facts(home / "store").items()
            if not name.startswith("catalogue/preflight")
        }

    whole, more = changed("whole")
    before = bytes_of(whole)
    code, acts = run(whole, "none", more)
    assert code == 0, acts
    assert bytes_of(whole) != before
    assert int(acts) > every
    for fatal in range(every // 2, int(acts), every):
        home, more = changed(f"killed{fatal}")
        assert run(home, str(fatal), more)[0] == -9
        code, said = run(home, "none", more)
        assert code == 0, said
        assert bytes_of(home) == bytes_of(whole), f"killed at act {fatal} of {acts}"
        shutil.rmtree(home)
