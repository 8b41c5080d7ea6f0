"""`d4c backfill`: many vintages processed again, interrupted and continued; a release only where data changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d4c_pipeline.chain.dry_run import retained
from d4c_pipeline.commands.main import app
from d4c_pipeline.model.errors import D4CError, PermanentError, UnknownNameError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration import backfilling
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

VINTAGES = ["2011", "2016", "2021"]
# The first vintage stays as it is.
SQL = "SELECT id, name, population + (getvariable('vintage') <> '2011')::INT AS population, geometry FROM source"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose dataset has three vintages, all retained and none published."""
    define(tmp_path / "definitions", vintages=VINTAGES)
    origin = Origin(tmp_path / "origin")
    origin.host(HOST)
    for vintage in VINTAGES:
        origin.put(f"{HOST}/places_{vintage}.geojson", geojson())
    found = Settings(
        home=tmp_path / "home",
        definitions=(tmp_path / "definitions",),
        origins=origin.origins,
        port=free_port(),
    )
    (dataset,) = read_definitions(tmp_path / "definitions" / "places" / "defs.yaml")
    with Deployment.open(found) as opened:
        for vintage in VINTAGES:
            STEPS["raw"](opened, dataset, Vintage.parse(vintage))
    origin.close()
    return found


def run(settings: Settings, *words: str) -> tuple[Any, BaseException | None]:
    home = ["--home", str(settings.home), "--defs", str(settings.definitions[0]), "--json"]
    done = CliRunner().invoke(app, ["backfill", *words, *home])
    return (json.loads(done.stdout) if done.stdout else None), done.exception


def releases(settings: Settings) -> dict[str, list[str]]:
    with Deployment.open(settings, archive=False) as opened:
        found: dict[str, list[str]] = {}
        for release in opened.ledger.releases.published("places"):
            found.setdefault(str(release.vintage), []).append(str(release.version))
    return found


def test_a_backfill_is_interrupted_cancelled_and_continued(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = backfilling.materialize_chain

    def killed_at_the_second(*words: Any, **named: Any) -> Any:
        if words[2] == "2016":
            raise SystemExit(130)  # as `d4c` ends at Ctrl-C
        return chain(*words, **named)

    with monkeypatch.context() as patched:
        patched.setattr(backfilling, "materialize_chain", killed_at_the_second)
        _, error = run(settings, "--package", "foundation", "--reason", "first releases")
    assert isinstance(error, SystemExit)
    assert releases(settings) == {"2011": ["0.1.0-beta"]}
    _, error = run(settings, "--package", "foundation", "--reason", "again")
    assert isinstance(error, PermanentError)
    assert "d4c backfill --resume 1" in error.remedy

    (row,), _ = run(settings, "--cancel", "1")
    assert (row["state"], row["left"], row["published"]) == ("cancelled", 2, 1)
    row, error = run(settings, "--resume", "1")
    assert (row["state"], row["left"], row["published"], error) == ("done", 0, 3, None)
    assert releases(settings) == {vintage: ["0.1.0-beta"] for vintage in VINTAGES}

    # New code changes two of three vintages; the catalogue has their releases.
    define(settings.definitions[0], vintages=VINTAGES, sql=SQL)
    row, error = run(settings, "places", "--reason", "population counted again", "--who", "ada")
    assert error is None
    assert Counter(row)["published"] == 2
    assert (row["unchanged"], row["failed"], row["who"]) == (1, 0, "ada")
    assert releases(settings) == {
        "2011": ["0.1.0-beta"],
        "2016": ["0.1.0-beta", "0.1.1-beta"],
        "2021": ["0.1.0-beta", "0.1.1-beta"],
    }
    collection = json.loads((settings.home / "store/catalogue/places/2021/latest.json").read_bytes())
    assert collection["properties"]["version"] == "0.1.1-beta"
    with embedded_instance(settings) as instance:
        tags = [record.tags.get("d4c/reason") for record in instance.get_runs()]
    assert Counter(tags) == {"first releases": 3, "population counted again": 3}


def test_a_vintage_that_fails_stops_no_other_and_is_retried(settings: Settings) -> None:
    failing = "SELECT * FROM source WHERE getvariable('vintage') <> '2016'"
    define(settings.definitions[0], vintages=VINTAGES, sql=failing)
    row, error = run(settings, "places", "--reason", "new code")
    assert (row["state"], row["published"], row["failed"], row["left"]) == ("running", 2, 1, 0)
    assert isinstance(error, D4CError)
    assert "1 vintages failed: places 2016: The SQL of transform.sql returns no rows" in error.cause
    assert "d4c backfill --resume 1" in error.remedy
    define(settings.definitions[0], vintages=VINTAGES)
    row, error = run(settings, "--resume", "1")
    assert (row["state"], row["published"], row["failed"], error) == ("done", 3, 0, None)


def test_what_is_refused(settings: Settings) -> None:
    (dataset,) = read_definitions(settings.definitions[0] / "places" / "defs.yaml")
    with Deployment.open(settings, archive=False) as opened:
        vintages = retained(opened, {"places": dataset}, dataset="places")
        with pytest.raises(PermanentError, match="needs a reason"):
            backfilling.begin(opened, vintages, [], scope="places", reason=" ", who="ada")
        with pytest.raises(UnknownNameError, match="There is no backfill 7"):
            backfilling.cancel(opened, 7)
        assert opened.ledger.backfills.all() == ()
    _, error = run(settings)
    assert isinstance(error, PermanentError)
