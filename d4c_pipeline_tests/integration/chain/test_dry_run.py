"""Dry runs: the change that processing again would publish, and that nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from d4c_pipeline.chain.dry_run import DryRun, dry_run, dry_runs, retained, trial
from d4c_pipeline.commands.main import app
from d4c_pipeline.model import gaps
from d4c_pipeline.model.errors import D4CError, DefinitionError, PermanentError, UnknownNameError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.model.vocabulary import Term, Vocabulary
from d4c_pipeline.orchestration.dry_running import plan_job
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.samples import define, geojson

VINTAGE = Vintage.parse("2021")
PACKAGE = "foundation"


def redefined(chain: Chain, sql: str | None = None, **processing: Any) -> None:
    """Write the definition again, with another processing."""
    define(chain.settings.definitions[0], sql=sql, processing={"kind": "vector", "key": ["id"], **processing})


def state(home: Path) -> dict[str, bytes]:
    """Everything in the home but the ledger's leases: files with their bytes."""
    files = (path for path in sorted(home.rglob("*")) if path.is_file() and not path.name.startswith("ledger"))
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def outcome(chain: Chain) -> tuple[str, str | None, tuple[str, ...]]:
    done = dry_run(chain.opened, chain.dataset, VINTAGE)
    return done.outcome, done.next and done.next.rpartition("_v")[2], done.change.reasons


def test_a_trial_proves_a_declaration_before_its_first_vintage_is_retained(chain: Chain) -> None:
    done = trial(chain.opened, chain.dataset, VINTAGE, 1 << 20)
    assert (done.run.outcome, done.run.rows, done.fetched) == ("first release", 4, len(geojson()))
    assert {verdict.check: verdict.outcome for verdict in done.verdicts}["keys_identify_rows"] is Outcome.PASS
    assert done.is_ready
    assert not chain.opened.ledger.natives.vintages("places")
    assert not any(path.is_file() for path in (chain.home / "dry_runs").rglob("*"))
    with pytest.raises(PermanentError, match="a trial fetches 10"):
        trial(chain.opened, chain.dataset, VINTAGE, 10)


def test_a_sample_has_the_first_rows_and_judges_nothing_that_needs_all(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run()
    define(chain.settings.definitions[0], checks={"totals": [{"rows": 4}]})
    unjudged = ("rows_against_previous", "bounds_against_previous", "expected_totals")
    done = trial(chain.opened, chain.dataset, VINTAGE, 1 << 20, most_rows=3)
    assert (done.sample, done.run.rows, done.outcome, done.unjudged) == (3, 3, "not compared", unjudged)
    judged = {verdict.check: verdict.outcome for verdict in done.verdicts}
    assert not judged.keys() & {*unjudged}
    assert (judged["keys_identify_rows"], done.is_ready) == (Outcome.PASS, True)
    # As many rows as the source has are no sample.
    every = trial(chain.opened, chain.dataset, VINTAGE, 1 << 20, most_rows=4)
    assert (every.sample, every.run.rows, every.outcome, every.unjudged) == (None, 4, "none", ())
    assert {*unjudged} <= {verdict.check for verdict in every.verdicts}
    monkeypatch.setenv("D4C_DEFS", str(chain.settings.definitions[0]))
    command = ["check", "places", "--rows", "1", "--home", str(chain.home)]
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (told["sample"], told["rows"], told["outcome"], told["ready"]) == (1, 1, "not compared", True)
    shown = " ".join(CliRunner().invoke(app, command).stdout.split())
    assert "This was a sample: the first 1 rows of more." in shown
    assert f"the newest release, {', '.join(unjudged)}." in shown
    assert "This was a sample" not in CliRunner().invoke(app, ["check", "places", "--home", str(chain.home)]).stdout


def test_a_trial_tells_failed_checks_and_marks(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run("raw")
    name = chain.dataset.name.model_copy(update={"package": gaps.TO_FILL})
    title = chain.dataset.title.model_copy(update={"fr": f"{gaps.TO_TRANSLATE}Places"})
    define(
        chain.settings.definitions[0],
        name=name.model_dump(exclude_none=True),
        title=title.model_dump(),
        checks={"totals": [{"rows": 5}]},
    )
    done = trial(chain.opened, chain.dataset, VINTAGE, 1 << 20)
    assert done.fetched == 0  # the retained files are built
    assert [verdict.check for verdict in done.verdicts if verdict.outcome is Outcome.FAILURE] == ["expected_totals"]
    assert [gap.field for gap in done.gaps] == ["name.package", "title.fr"]
    assert not done.is_ready
    monkeypatch.setenv("D4C_DEFS", str(chain.settings.definitions[0]))
    result = CliRunner().invoke(app, ["check", "places", "--home", str(chain.home), "--json"])
    assert isinstance(result.exception, PermanentError)
    assert result.exception.cause == "places is not ready: expected_totals failed and 2 gaps are left"
    told = json.loads(result.stdout)
    assert (told["ready"], told["completeness"]) == (False, 0.18)
    assert "keywords" in [each["field"] for each in told["missing"]]
    with pytest.raises(DefinitionError, match=r"name\.package, title\.fr are marked"):
        chain.run("processed", "checksums")


def test_the_rules_of_a_package_are_told_by_a_trial_and_stop_a_plan(chain: Chain) -> None:
    rules = chain.settings.definitions[0] / "packages.yaml"
    rules.write_text("d4c-datapkg-foundation: {fields: [languages], keywords: {subjects: 2}}\n")
    before = trial(chain.opened, chain.dataset, VINTAGE, 1 << 20)
    assert [gap.sentence for gap in before.gaps] == [
        "Write languages: the languages of the data as ISO 639-3, such as [eng, fra]",
        "Import the vocabulary subjects: 'd4c vocabulary import FILE'",
    ]
    terms = (Term("#w", "Water", "Eau"), Term("#p", "Places", "Lieux"))
    chain.opened.ledger.vocabularies.add(Vocabulary("subjects", "1", "Subjects", "a" * 64, terms), who="ana")
    define(chain.settings.definitions[0], languages=["eng"], keywords={"en": ["water"], "fr": ["Lieux"]})
    assert trial(chain.opened, chain.dataset, VINTAGE, 1 << 20).is_ready
    define(chain.settings.definitions[0], languages=["eng"], keywords={"en": ["water", "own word"], "fr": ["EAU"]})
    chain.run("raw", "processed")
    with pytest.raises(DefinitionError, match="keywords: Add 1 more of the terms of subjects"):
        chain.run("checksums")
    rules.write_text("d4c-datapkg-foundation: {fields: [colour]}\n")
    with pytest.raises(DefinitionError, match="'colour' is not a field that a package may require"):
        chain.run("checksums")
    rules.unlink()
    chain.run("checksums")


def test_the_change_is_known_before_anything_is_published(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run("raw")
    assert outcome(chain) == ("first release", "0.1.0-beta", ("first release",))
    chain.run()
    before = state(chain.home)
    events = len(chain.opened.ledger.events.of("places"))
    chain.origin.close()  # a dry run reads what is retained

    assert outcome(chain) == ("none", None, ())
    redefined(chain, "SELECT id, name, population + 1 AS population, geometry FROM source")
    assert outcome(chain)[:2] == ("PATCH", "0.1.1-beta")
    redefined(chain, "SELECT *, 'CA' AS country FROM source")
    assert outcome(chain) == ("MINOR", "0.2.0-beta", ("column country added",))
    redefined(chain, "SELECT id, name, geometry FROM source")
    assert outcome(chain) == ("MAJOR", "1.0.0-beta", ("column population removed",))
    assert state(chain.home) == before
    assert len(chain.opened.ledger.events.of("places")) == events
    assert chain.opened.ledger.releases.planned("places", VINTAGE) is None

    # The command and the job of the UI report the same.
    monkeypatch.setenv("D4C_DEFS", str(chain.settings.definitions[0]))
    done = CliRunner().invoke(app, ["plan", "--package", PACKAGE, "--home", str(chain.home), "--json"])
    (row,) = json.loads(done.stdout)
    assert (row["dataset"], row["outcome"], row["reasons"]) == ("places", "MAJOR", ["column population removed"])
    monkeypatch.setenv("D4C_HOME", str(chain.home))
    with dg.DagsterInstance.ephemeral() as instance:
        ran = plan_job([chain.dataset], []).execute_in_process(
            instance=instance,
            resources={"deployment": DeploymentResource()},
            run_config={"ops": {"find_changes": {"config": {"package": "d4c-datapkg-foundation"}}}},
        )
        assert ran.output_for_node("find_changes") == {"MAJOR": 1}
        (event,) = [each for each in ran.all_events if each.event_type_value == "STEP_OUTPUT"]
    table = event.step_output_data.metadata["changes"].value
    assert "| places | 2021 | MAJOR |" in str(table)

    # A vintage that can't be built is reported and stops no other.
    redefined(chain, "SELECT nothing FROM source")
    chosen = retained(chain.opened, {"places": chain.dataset}, package=PACKAGE)
    (found,) = dry_runs(chain.opened, chosen)
    assert not isinstance(found, DryRun)
    assert isinstance(found[2], D4CError)
    assert state(chain.home) == before
    failed = CliRunner().invoke(app, ["plan", "places", "--home", str(chain.home), "--json"])
    assert json.loads(failed.stdout)[0]["outcome"] == "failed"
    assert "1 of 1 vintages can't be built" in str(failed.exception)


def test_what_can_be_chosen(chain: Chain) -> None:
    known = {"places": chain.dataset}
    with pytest.raises(UnknownNameError, match="No native files of places are retained"):
        retained(chain.opened, known, dataset="places")
    with pytest.raises(UnknownNameError, match="There is no dataset towns"):
        retained(chain.opened, known, dataset="towns")
    with pytest.raises(UnknownNameError, match="Packages are: d4c-datapkg-foundation"):
        retained(chain.opened, known, package="statistical")
