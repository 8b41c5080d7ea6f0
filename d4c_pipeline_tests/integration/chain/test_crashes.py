"""The chain killed at any durable act: before a file appears under its name or goes, before a commit of the ledger.

Where those acts are is not written down here: the process that is to die counts them as they come. A sample of them is
tried; with D4C_TEST_EVERY=1, each.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import ask_ledger, drafts, records, sha256, states, tree
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected
from d4c_pipeline_tests.support.strides import stride

STRIDE = stride(61)  # of some 190 acts; each costs two runs, about 9 s
RUN = "d4c_pipeline_tests.support.steps:run_all"


def check(home: Path, versions: list[str]) -> None:
    """One record per release, in agreement with store and ledger, and nothing left over."""
    assert states(home) == [("2021", version, "published") for version in versions]
    found = {record["metadata"]["version"]: record for record in records(home)}
    assert len(records(home)) == len(found) == len(versions)
    assert drafts(home) == []
    assert ask_ledger(home, "SELECT key FROM lease") == []
    releases = home / "store" / "releases" / "places" / "2021"
    for version in versions:
        files = home / "archive" / "records" / found[version]["record_id"] / "files"
        assert tree(releases / f"v{version}") == tree(files)
    (served,) = (home / "store" / "processed").iterdir()
    parquet = list((releases / f"v{versions[-1]}").glob("*.parquet"))
    (newest,) = (path for path in parquet if not path.name.endswith("_changes.parquet"))
    assert len(parquet) == len(versions)  # the second release carries its changes
    assert sha256(served) == sha256(newest)
    assert [str(path) for path in home.rglob(".*") if path.name != ".lock"] == []
    assert list((home / "store" / "hidden").rglob("*")) == []


def sweep(zygote: Zygote, chain: Chain, start: Callable[[Path], object], versions: list[str]) -> None:
    """Kill a run at one act after another, each time on a home that `start` makes, and run again."""

    def run(home: Path, fatal: str) -> tuple[int, str]:
        d4c = D4C(zygote, home, chain.settings.port, chain.origin, {"D4C_DEFS": str(chain.settings.definitions[0])})
        done = d4c.start(fatal, function=RUN).wait()
        return done.code, done.stdout if done.code in (0, -9) else done.stderr

    whole = chain.home.with_name("whole")
    start(whole)
    code, acts = run(whole, "none")
    assert code == 0, acts
    check(whole, versions)
    assert int(acts) > 80
    for fatal in range(0, int(acts), STRIDE):
        home = chain.home.with_name(f"killed{fatal}")
        start(home)
        assert run(home, str(fatal)) == (-9, ""), fatal
        code, said = run(home, "none")
        assert code == 0, (fatal, said)
        check(home, versions)
        shutil.rmtree(home)


@pytest.mark.timeout(1800)
def test_a_first_release_killed_anywhere(zygote: Zygote, chain: Chain) -> None:
    sweep(zygote, chain, lambda home: home, ["0.1.0-beta"])


@pytest.mark.timeout(1800)
def test_a_second_version_killed_anywhere(zygote: Zygote, chain: Chain) -> None:
    chain.run()
    chain.opened.ledger.close()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    sweep(zygote, chain, lambda home: shutil.copytree(chain.home, home), ["0.1.0-beta", "0.1.1-beta"])
