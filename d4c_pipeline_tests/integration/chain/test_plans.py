"""What `checksums` plans: the version of a build, and what becomes of a plan that was overtaken."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from d4c_pipeline.chain import checksums
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import ArtifactRole, ReleaseState
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import drafts, records, states, tree
from d4c_pipeline_tests.support.samples import DAY, PLACES, PLACES_URL, corrected, define, geojson

VINTAGE = Vintage.parse("2021")
DOCS = Path(__file__).parents[3] / "docs"


def correct(chain: Chain) -> None:
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))


def test_a_first_plan(chain: Chain) -> None:
    plan = chain.run_up_to("checksums")
    release = plan.release
    assert (str(release.version), release.state, plan.unchanged) == ("0.1.0-beta", ReleaseState.PLANNED, False)
    assert (plan.change.bump, plan.change.reasons) == (Bump.MINOR, ("first release",))
    assert sorted(artifact.role for artifact in release.artifacts) == [
        ArtifactRole.CHECKSUMS,
        ArtifactRole.CODE,
        ArtifactRole.DATA,
        ArtifactRole.MANIFEST,
        ArtifactRole.PROFILE,
    ]
    staged = chain.home / "staging" / "places" / "2021" / "release" / release.name
    manifest = json.loads((staged / "manifest.json").read_text("utf-8"))
    (native,) = manifest["native_files"]
    assert native["url"] == PLACES_URL  # where it is published, not where this machine had it from
    assert manifest["summary"]["rows"] == 4
    assert manifest["outputs"][0]["sha256"] == release.data_sha256
    assert str(chain.home) not in (staged / "manifest.json").read_text("utf-8")
    assert not (chain.home / "store" / "releases").exists()


def test_manifest_and_build_mark_are_valid_against_their_published_schemas(chain: Chain) -> None:
    release = chain.run_up_to("checksums").release
    staging = chain.home / "staging" / "places" / "2021"
    documents = {
        "manifest": staging / "release" / release.name / "manifest.json",
        "build": staging / "build" / "build.json",
    }
    for name, path in documents.items():
        validator = Draft202012Validator(json.loads((DOCS / f"{name}.schema.json").read_text("utf-8")))
        document = json.loads(path.read_text("utf-8"))
        assert list(validator.iter_errors(document)) == []
        assert list(validator.iter_errors({**document, "summary": None}))


def test_the_same_data_again_keeps_the_plan_and_its_doi(chain: Chain) -> None:
    chain.run_up_to("stac_item")
    planned = chain.opened.ledger.releases.planned("places", VINTAGE)
    doi = chain.results["doi"].doi
    for _ in range(2):
        chain.run_up_to("stac_item")
        again = chain.opened.ledger.releases.planned("places", VINTAGE)
        assert again == planned
        assert chain.results["doi"].doi == doi
    assert len(drafts(chain.home)) == 1
    assert states(chain.home) == [("2021", "0.1.0-beta", "planned")]


@pytest.mark.parametrize("last", ["checksums", "doi", "copies", "torrent", "stac_item"])
def test_other_data_takes_the_place_of_a_plan(chain: Chain, last: str) -> None:
    chain.run_up_to(last)
    old = chain.opened.ledger.releases.planned("places", VINTAGE)
    assert old is not None
    correct(chain)
    plan = chain.run_up_to("checksums")
    # The version was never public, so it is free again; nothing of the old plan is left anywhere.
    assert str(plan.release.version) == "0.1.0-beta"
    assert plan.release.data_sha256 != old.data_sha256
    assert states(chain.home) == [("2021", "0.1.0-beta", "abandoned"), ("2021", "0.1.0-beta", "planned")]
    assert drafts(chain.home) == []
    store = chain.home / "store"
    left = {
        path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file() and "raw" not in path.parts
    }
    assert left <= {"catalogue/preflight.txt"}
    row = chain.run()
    assert row.releases == 1
    assert len(records(chain.home)) == 1
    assert drafts(chain.home) == []
    assert chain.newest().data_sha256 == plan.release.data_sha256


def test_data_that_is_back_where_it_was_gives_the_plan_up(chain: Chain) -> None:
    chain.run()
    first = chain.newest()
    before = tree(chain.home / "store" / "releases")
    correct(chain)
    chain.run_up_to("torrent")
    assert len(drafts(chain.home)) == 1
    chain.origin.put(PLACES_URL, geojson(), DAY + timedelta(days=2))
    plan = chain.run_up_to("checksums")
    assert plan.unchanged
    assert plan.release == first
    assert drafts(chain.home) == []
    assert tree(chain.home / "store" / "releases") == before
    assert states(chain.home) == [("2021", "0.1.0-beta", "published"), ("2021", "0.1.1-beta", "abandoned")]
    # And the plan after that has the version that was given up, under another DOI.
    correct(chain)
    chain.run()
    assert str(chain.newest().version) == "0.1.1-beta"


def test_a_release_that_the_archive_may_have_published_is_settled_first(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    def publish_and_die(archive: object, draft: object) -> None:
        original(archive, draft)
        raise PowerCutError

    original = type(chain.opened.archive).publish
    with monkeypatch.context() as patched:
        patched.setattr(type(chain.opened.archive), "publish", publish_and_die)
        with pytest.raises(PowerCutError):
            chain.run()
    assert len(records(chain.home)) == 1
    correct(chain)
    plan = chain.run_up_to("checksums")
    assert (str(plan.release.version), plan.release.summary.rows) == ("0.1.0-beta", 4)
    chain.run("doi", "copies", "torrent", "stac_item", "deposit", "latest")
    assert [record["metadata"]["version"] for record in records(chain.home)] == ["0.1.0-beta"]
    # The other data has its turn afterwards.
    chain.run()
    assert states(chain.home) == [("2021", "0.1.0-beta", "published"), ("2021", "0.1.1-beta", "published")]


@pytest.mark.parametrize(
    ("asked", "version", "reasons"),
    [
        (Bump.NONE, "0.1.1-beta", ()),
        (Bump.PATCH, "0.1.1-beta", ()),
        (Bump.MINOR, "0.2.0-beta", ("raised to MINOR by the operator",)),
        (Bump.MAJOR, "1.0.0-beta", ("raised to MAJOR by the operator",)),
    ],
)
def test_an_operator_may_raise_a_bump(chain: Chain, asked: Bump, version: str, reasons: tuple[str, ...]) -> None:
    chain.run()
    correct(chain)
    chain.run("raw", "processed")
    plan = chain.plan(asked)
    assert str(plan.release.version) == version
    assert plan.change.reasons[1:] == reasons
    assert "1" in plan.change.reasons[0]  # one value of one row


def test_an_operator_can_not_lower_a_bump(chain: Chain, definitions: Path) -> None:
    chain.run()
    define(definitions, sql="SELECT id, name, geometry FROM source")
    chain.run("processed")
    plan = chain.plan(Bump.PATCH)
    assert (str(plan.release.version), plan.change.reasons) == ("1.0.0-beta", ("column population removed",))


@pytest.mark.parametrize(("stage", "version"), [("stable", "0.1.1"), ("rc", "0.1.1-rc"), ("alpha", "0.1.1-alpha")])
def test_the_stage_tags_the_next_version(chain: Chain, definitions: Path, stage: str, version: str) -> None:
    chain.run()
    define(definitions, publication={"stage": stage, "initial_version": "3.0.0"})
    assert chain.plan().unchanged  # saying so is no change of the data
    correct(chain)
    assert str(chain.run_up_to("checksums").release.version) == version


def test_a_new_key_is_a_major_change(chain: Chain, definitions: Path) -> None:
    chain.run()
    define(definitions, processing={"kind": "vector", "key": ["name"]})
    plan = chain.run_up_to("checksums")
    assert (str(plan.release.version), plan.change.reasons) == ("1.0.0-beta", ("key columns changed from id to name",))


def test_a_plan_whose_files_are_lost_is_made_again(chain: Chain) -> None:
    chain.run_up_to("doi")
    staged = chain.home / "staging" / "places" / "2021" / "release"
    next(staged.rglob("manifest.json")).unlink()
    chain.run()
    assert states(chain.home)[-1] == ("2021", "0.1.0-beta", "published")
    assert len(records(chain.home)) == 1
    assert drafts(chain.home) == []


def test_a_build_that_was_tampered_with_is_refused(chain: Chain) -> None:
    chain.run("raw", "processed")
    data = chain.home / "staging" / "places" / "2021" / "build" / "data.parquet"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="is not what 'processed' left"):
        chain.plan()


def test_steps_out_of_order_say_which_one_is_missing(chain: Chain) -> None:
    expected = {
        "processed": "'raw'",
        "checksums": "'processed'",
        "doi": "'checksums'",
        "copies": "'checksums'",
        "torrent": "'checksums'",
        "latest": "'deposit'",
    }
    for step, remedy in expected.items():
        with pytest.raises(UnknownNameError, match=remedy):
            chain.run(step)
    chain.run_up_to("checksums")
    for step, remedy in (("torrent", "'doi'"), ("stac_item", "'torrent'"), ("deposit", "'doi'")):
        with pytest.raises(UnknownNameError, match=f"Run the step {remedy}"):
            chain.run(step)
    chain.run("doi")
    with pytest.raises(UnknownNameError, match="Run the step 'stac_item'"):
        chain.run("deposit")


def test_rows_that_shrink_are_told_with_their_number(chain: Chain) -> None:
    chain.run()
    chain.origin.put(PLACES_URL, geojson(PLACES[:2]), DAY + timedelta(days=1))
    plan = chain.run_up_to("checksums")
    # Removed rows break nobody's schema, and coverage did not grow: values changed.
    assert str(plan.release.version) == "0.1.1-beta"
    assert plan.change.reasons == ("2 rows removed, e.g. key 3",)
    assert isinstance(plan, checksums.Plan)
