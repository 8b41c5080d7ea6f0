"""Retention that is killed at its durable acts, in folders and in a bucket: the next run ends right."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from d4c_pipeline.upkeep import retention
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.children import in_child
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.stores import upload_crashes
from d4c_pipeline_tests.integration.upkeep.retention.conftest import (
    VERSIONS,
    declare,
    keep,
    named,
    on,
    on_west,
    releases,
)
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import ask_ledger
from d4c_pipeline_tests.support.strides import stride

ON_FOLDERS = pytest.mark.parametrize("west", ["folder"], indirect=True)
IN_BUCKETS = pytest.mark.parametrize("west", ["moto", pytest.param("real", marks=pytest.mark.s3)], indirect=True)
STEP = stride(17)


@pytest.mark.timeout(600)
@ON_FOLDERS
def test_retention_killed_anywhere_ends_right(zygote: Zygote, mirrored: Chain) -> None:
    declare(mirrored, west=1)
    keep(mirrored)
    declare(mirrored, east=2)
    mirrored.opened.ledger.close()
    shutil.copytree(mirrored.home, mirrored.home.with_name("whole"))
    code, acts = run(zygote, mirrored, mirrored.home.with_name("whole"), "none")
    assert code == 0, acts
    check(mirrored.home.with_name("whole"))
    assert int(acts) > 100
    for fatal in range(0, int(acts), stride(29)):
        home = mirrored.home.with_name(f"killed{fatal}")
        shutil.copytree(mirrored.home, home)
        assert run(zygote, mirrored, home, str(fatal)) == (-9, ""), fatal
        held = ask_ledger(home, "SELECT address FROM copy WHERE store = 'east'")
        assert all((home / "east" / address).is_file() for (address,) in held), fatal
        code, said = run(zygote, mirrored, home, "none")
        assert code == 0, (fatal, said)
        check(home)
        shutil.rmtree(home)


def check(home: Path) -> None:
    """West holds everything again, east the newest two, and ledger and catalogue say so."""
    files = on(home, "primary")
    assert on(home, "west") == files
    assert on(home, "east") == {version: files[version] for version in VERSIONS[1:]}
    assert [named(home, version) for version in VERSIONS] == [{"west"}, {"west", "east"}, {"west", "east"}]
    assert ask_ledger(home, "SELECT count(*), count(deleted_at) FROM pruned_copy WHERE store = 'east'") == [
        (files["0.1.0-beta"],) * 2
    ]
    assert ask_ledger(home, "SELECT count(*) FROM pruned_copy WHERE store = 'west'") == [(0,)]
    for store in ("west", "east"):
        held = ask_ledger(home, f"SELECT count(*) FROM copy WHERE store = '{store}'")
        assert held == [(sum(on(home, store).values()),)]
    assert not [path for path in home.rglob(".*") if path.name != ".lock"]


def run(zygote: Zygote, chain: Chain, home: Path, fatal: str) -> tuple[int, str]:
    """Let retention run in a process of its own; returns its code and what it said."""
    environment = {"D4C_DEFS": str(chain.settings.definitions[0]), "D4C_STORES": str(home / "stores.yaml")}
    d4c = D4C(zygote, home, chain.settings.port, chain.origin, environment)
    done = d4c.start(fatal, function="d4c_pipeline_tests.support.steps:run_retention").wait()
    return done.code, done.stdout if done.code in (0, -9) else done.stderr


def keep_and_die(chain: Chain, fatal: int, moment: str) -> int:
    """Let retention run in a fork that is killed at a call of the bucket's server; returns its code."""

    def work() -> None:
        upload_crashes.count(fatal, moment)
        with Deployment.open(chain.settings) as opened:
            retention.apply(opened, [chain.dataset])

    return in_child(work)


@pytest.mark.timeout(300)
@IN_BUCKETS
def test_retention_killed_again_and_again_at_calls_of_a_bucket_ends_right(mirrored: Chain) -> None:
    files = on(mirrored.home, "primary")
    for wanted in (1, 3):
        # Prunes two releases, then pushes them again.
        declare(mirrored, west=wanted)
        mirrored.opened.ledger.close()
        fatal, moments = 3, upload_crashes.MOMENTS
        while (code := keep_and_die(mirrored, fatal, moments[fatal % 2])) != 0:
            assert code == -signal.SIGKILL, fatal
            there = on_west(mirrored)
            # The newest is never touched, and what the ledger says lies there does.
            assert there["0.1.2-beta"] == files["0.1.2-beta"], fatal
            held = ask_ledger(mirrored.home, "SELECT count(*) FROM copy WHERE store = 'west'")
            assert held[0][0] <= sum(there.values()), fatal
            fatal += STEP
        assert fatal > 3 + STEP
        assert keep(mirrored) == []
        assert on_west(mirrored) == {version: files[version] for version in VERSIONS[-wanted:]}
        held = ask_ledger(mirrored.home, "SELECT count(*) FROM copy WHERE store = 'west'")
        assert held == [(sum(files[version] for version in VERSIONS[-wanted:]),)]
        assert [("west" in named(mirrored.home, version)) for version in VERSIONS] == [wanted == 3, wanted == 3, True]
    assert {len(mirrored.opened.ledger.pruning.of(release)) for release in releases(mirrored).values()} == {0}
