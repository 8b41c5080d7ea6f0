"""What the ledger remembers: releases, deposits, native files, copies and events, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import StatementError

from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.model.errors import BusyError, IntegrityError, UnknownNameError
from d4c_pipeline.model.release import (
    AbandonedRelease,
    Artifact,
    ArtifactRole,
    DepositState,
    NativeFile,
    PlannedRelease,
    PublishedRelease,
    Torrent,
)
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.datasets import load_datasets

Plan = Callable[..., PlannedRelease]
V2021 = Vintage.parse("2021")


def test_a_plan_is_read_as_it_was_written(ledger: Ledger, plan: Plan) -> None:
    before = datetime.now(UTC)
    release = plan(ledger, "0.1.0-beta")

    assert ledger.releases.get(release.id) == release
    assert (release.dataset, str(release.vintage), str(release.version)) == ("provinces", "2021", "0.1.0-beta")
    assert (type(release), release.state.value) == (PlannedRelease, "planned")
    assert (release.change.bump, release.change.reasons) == (Bump.MINOR, ("coverage grew",))
    assert release.summary.bounds == (-141.0, 41.7, -52.6, 83.1)
    assert [(artifact.name, artifact.role) for artifact in release.artifacts] == [
        ("data.parquet", ArtifactRole.DATA),
        ("manifest.json", ArtifactRole.MANIFEST),
    ]
    assert release.planned_at.tzinfo is UTC
    assert before <= release.planned_at <= datetime.now(UTC)
    assert not hasattr(release, "published_at")


def test_moments_keep_their_instant_and_are_utc(ledger: Ledger, plan: Plan) -> None:
    ottawa = datetime(2026, 3, 8, 1, 59, 59, 123456, tzinfo=timezone(timedelta(hours=-5)))
    with ledger._engine.begin() as connection:
        connection.execute(insert(schema.event).values(at=ottawa, kind="test", detail={}))
        kept = connection.execute(select(schema.event.c.at)).scalar_one()
    assert kept == ottawa
    assert kept.isoformat() == "2026-03-08T06:59:59.123456+00:00"


def test_naive_moments_are_refused(ledger: Ledger) -> None:
    with pytest.raises(StatementError, match="with a time zone"), ledger._engine.begin() as connection:
        connection.execute(insert(schema.event).values(at=datetime(2026, 1, 1), kind="test", detail={}))  # noqa: DTZ001


def test_a_vintage_has_one_plan_at_a_time(ledger: Ledger, plan: Plan) -> None:
    plan(ledger, "0.1.0")
    with pytest.raises(BusyError, match="planned a release of provinces 2021"):
        plan(ledger, "0.1.1")
    plan(ledger, "0.1.0", vintage="2016")
    plan(ledger, "0.1.0", dataset="other")
    assert len(ledger.releases.living()) == 3
    assert [event.kind for event in ledger.events.of("provinces", "2021")] == ["release planned"]


def test_of_many_planners_at_once_one_wins(ledger: Ledger, plan: Plan) -> None:
    def attempt(number: int) -> str:
        try:
            return str(plan(ledger, f"0.1.{number}").version)
        except BusyError:
            return ""

    with ThreadPoolExecutor(6) as pool:
        won = [version for version in pool.map(attempt, range(6)) if version]
    planned = ledger.releases.planned("provinces", V2021)
    assert planned is not None
    assert won == [str(planned.version)]


def test_a_published_version_is_taken_for_ever(ledger: Ledger, plan: Plan) -> None:
    first = plan(ledger, "0.1.0")
    published = ledger.releases.mark_published(first)
    assert (type(published), published.state.value) == (PublishedRelease, "published")
    assert published.published_at >= published.planned_at
    assert ledger.releases.get(first.id) == published
    assert ledger.releases.mark_published(first).published_at == published.published_at
    with pytest.raises(BusyError):
        plan(ledger, "0.1.0")
    assert type(plan(ledger, "0.1.1")) is PlannedRelease
    assert [e.kind for e in ledger.events.of("provinces")].count("release published") == 1


def test_an_abandoned_version_is_free_again(ledger: Ledger, plan: Plan) -> None:
    first = plan(ledger, "0.1.0")
    ledger.copies.record(first, "data.parquet", "primary", address="x", size=10, sha256="a" * 64, intact=True)
    ledger.releases.abandon(first, "overtaken")
    second = plan(ledger, "0.1.0")

    assert second.id != first.id
    assert type(ledger.releases.get(first.id)) is AbandonedRelease
    assert ledger.releases.get(first.id).state.value == "abandoned"
    assert ledger.copies.of(first) == ()
    assert ledger.releases.planned("provinces", V2021) == second
    assert ledger.releases.living() == (second,)


def test_a_published_release_is_not_abandoned(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    ledger.releases.mark_published(release)

    with pytest.raises(IntegrityError, match="no plan any more"):
        ledger.releases.abandon(release, "a mistake")
    assert type(ledger.releases.get(release.id)) is PublishedRelease


def test_an_abandoned_release_is_not_published(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    ledger.releases.abandon(release, "overtaken")

    with pytest.raises(IntegrityError):
        ledger.releases.mark_published(release)
    assert type(ledger.releases.get(release.id)) is AbandonedRelease


def test_the_newest_is_that_of_the_highest_version(ledger: Ledger, plan: Plan) -> None:
    for version in ("0.9.0", "0.10.0-beta", "0.10.0", "0.2.0"):
        ledger.releases.mark_published(plan(ledger, version))
    ledger.releases.mark_published(plan(ledger, "5.0.0", vintage="2016"))
    plan(ledger, "0.11.0")

    newest = ledger.releases.newest_published("provinces", V2021)
    assert newest is not None
    assert str(newest.version) == "0.10.0"
    assert [(str(r.vintage), str(r.version)) for r in ledger.releases.published("provinces")] == [
        ("2016", "5.0.0"),
        ("2021", "0.2.0"),
        ("2021", "0.9.0"),
        ("2021", "0.10.0-beta"),
        ("2021", "0.10.0"),
    ]
    assert ledger.releases.newest_published("provinces", Vintage.parse("2011")) is None


def test_artifacts_change_while_planned_only(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    item = Artifact("item.json", ArtifactRole.METADATA, 2, "1" * 32, "c" * 64, "application/geo+json")
    assert len(ledger.releases.add_artifacts(release, [item]).artifacts) == 3
    other = Artifact("item.json", ArtifactRole.METADATA, 3, "2" * 32, "d" * 64, "application/geo+json")
    assert ledger.releases.add_artifacts(release, [other]).artifact(ArtifactRole.METADATA) == other

    ledger.releases.mark_published(release)
    for artifact in (item, other):
        with pytest.raises(IntegrityError, match="is published, its files can't change"):
            ledger.releases.add_artifacts(release, [artifact])
    assert ledger.releases.get(release.id).artifact(ArtifactRole.METADATA) == other


def test_an_unknown_release_is_told(ledger: Ledger) -> None:
    with pytest.raises(UnknownNameError, match="has no such release"):
        ledger.releases.get(404)


def test_a_deposit_does_not_step_back_from_published(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    assert ledger.deposits.of(release) is None
    opened = ledger.deposits.open(release, "local", test=True)
    assert (opened.state, opened.test, opened.files) == (DepositState.PLANNED, True, {})
    assert ledger.deposits.open(release, "local", test=True) == opened
    ledger.deposits.advance(release, DepositState.DRAFT_OPEN, record_id="1", concept_id="0")
    ledger.deposits.advance(release, DepositState.VERIFIED)
    ledger.deposits.advance(release, DepositState.FILES_SYNCED)  # back on the way is allowed: files are synced again
    done = ledger.deposits.advance(release, DepositState.PUBLISHED, doi="10.5072/1", files={"a": "http://x/a"})

    for state in DepositState:
        if state is not DepositState.PUBLISHED:
            with pytest.raises(IntegrityError, match="is published and can't be"):
                ledger.deposits.advance(release, state, doi="10.5072/2")
    assert ledger.deposits.of(release) == done
    assert (done.record_id, done.doi, done.files) == ("1", "10.5072/1", {"a": "http://x/a"})
    dois = [e.detail.get("doi") for e in ledger.events.of("provinces") if e.kind == "deposit published"]
    assert dois == ["10.5072/1"]


def _native(sha256: str, url: str = "https://example.org/a.zip", address: str = "raw/a") -> NativeFile:
    return NativeFile("a.zip", url, sha256 * 64, 10, f'"{sha256}"', None, "application/zip", address)


def test_an_identical_native_file_adds_no_row(ledger: Ledger) -> None:
    ledger.natives.record("d", V2021, [_native("a")], "ogl-canada-2.0")
    ledger.natives.record("d", V2021, [_native("a", address="raw/moved")], "ogl-canada-2.0")

    with ledger._engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM native_file")).scalar() == 1
    assert ledger.natives.current("d", V2021) == (_native("a", address="raw/moved"),)
    assert [event.kind for event in ledger.events.of("d")] == ["native file retained"]


def test_the_current_native_file_is_the_one_seen_last(ledger: Ledger) -> None:
    ledger.natives.record("d", V2021, [_native("a")], "cc-by-4.0")
    ledger.natives.record("d", V2021, [_native("b")], "cc-by-4.0")
    assert ledger.natives.current("d", V2021) == (_native("b"),)
    ledger.natives.record("d", V2021, [_native("a")], "cc-by-4.0")  # the source went back to the earlier one
    assert ledger.natives.current("d", V2021) == (_native("a"),)


def test_native_files_come_in_the_order_that_is_asked_for(ledger: Ledger) -> None:
    one, two = _native("a", "https://example.org/1"), _native("b", "https://example.org/2")
    ledger.natives.record("d", V2021, [two, one], "cc-by-4.0")
    ledger.natives.record("d", Vintage.parse("2016"), [one], "cc-by-4.0")

    assert ledger.natives.current("d", V2021) == (one, two)
    assert ledger.natives.current("d", V2021, [two.url, "https://example.org/3", one.url]) == (two, one)
    assert [str(vintage) for vintage in ledger.natives.vintages("d")] == ["2016", "2021"]


def test_a_copy_is_verified_again_in_place(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    for intact in (True, False):
        ledger.copies.record(
            release, "data.parquet", "primary", address="releases/x", size=3_000_000_000, sha256="a" * 64, intact=intact
        )
    (copy,) = ledger.copies.of(release)
    assert (copy.intact, copy.size, copy.verified_at.tzinfo) == (False, 3_000_000_000, UTC)


def test_torrent_item_and_latest(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    torrent = Torrent("a" * 40, None, "magnet:?xt=urn:btih:" + "a" * 40, 1 << 22, ("http://x/1", "http://y/2"), "t")
    other = replace(torrent, info_hash="b" * 40)
    ledger.publications.record_torrents(release, {"gone.parquet": other})
    ledger.publications.record_torrents(release, {"b.parquet": torrent, "a.parquet": other})
    ledger.publications.record_item(release, {"id": "x", "title": "Québec"})
    for _ in range(2):
        ledger.publications.switch_latest(release, {"processed/x.parquet": "a" * 64}, ())

    assert list(ledger.publications.torrents(release).items()) == [("a.parquet", other), ("b.parquet", torrent)]
    assert ledger.publications.item(release) == {"id": "x", "title": "Québec"}
    assert ledger.publications.latest() == {"processed/x.parquet": release.id}
    assert [e.kind for e in ledger.events.of("provinces")].count("latest switched") == 1


def test_an_address_is_known_from_before_it_serves_until_after_it_is_gone(ledger: Ledger, plan: Plan) -> None:
    release, publications = plan(ledger), ledger.publications
    publications.switch_latest(release, {"processed/x.parquet": "a" * 64}, ())

    publications.claim_latest(release, ["processed/x.parquet", "processed/x/a.parquet"])
    assert publications.latest() == {"processed/x.parquet": release.id}
    both = {"processed/x.parquet", "processed/x/a.parquet"}
    assert publications.latest_addresses("provinces", V2021) == publications.latest_addresses("provinces", None) == both
    assert publications.latest_addresses("provinces", Vintage.parse("2016")) == frozenset()

    publications.switch_latest(release, {"processed/x/a.parquet": "b" * 64}, ["processed/x.parquet"])
    assert publications.latest() == {"processed/x/a.parquet": release.id}
    assert publications.latest_addresses("provinces", None) == {"processed/x/a.parquet"}
    (_, last) = [e for e in ledger.events.of("provinces") if e.kind == "latest switched"]
    assert (last.detail["addresses"], last.detail["removed"]) == (["processed/x/a.parquet"], ["processed/x.parquet"])


def test_a_verdict_is_bound_to_bytes_and_the_last_one_counts(ledger: Ledger) -> None:
    for verdict in ("failure", "pass"):
        ledger.judgements.record_check("d", V2021, "a" * 64, "rows", verdict, {"rows": 13})
    ledger.judgements.record_check("d", V2021, "b" * 64, "rows", "failure", {})

    assert [(check.check, check.verdict) for check in ledger.judgements.checks("a" * 64)] == [("rows", "pass")]
    assert ledger.judgements.checks("c" * 64) == ()


def test_reviews_keep_who_when_and_why(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    ledger.judgements.record_review(release, "rejected", "ana", "wrong CRS")
    ledger.judgements.record_review(release, "approved", "ana", "corrected")

    assert [(r.decision, r.who, r.reason) for r in ledger.judgements.reviews(release)] == [
        ("rejected", "ana", "wrong CRS"),
        ("approved", "ana", "corrected"),
    ]


def test_an_override_is_bound_to_check_and_bytes_and_the_last_word_counts(ledger: Ledger) -> None:
    for reason in ("first", "second"):
        ledger.judgements.record_override("provinces", V2021, "a" * 64, "rows", who="ana", reason=reason)
    ledger.judgements.record_override("provinces", V2021, "b" * 64, "bounds", who="ben", reason="other data")

    assert [(o.check, o.who, o.reason) for o in ledger.judgements.overrides("a" * 64)] == [("rows", "ana", "second")]
    assert ledger.judgements.overrides("c" * 64) == ()
    assert [e.detail["reason"] for e in ledger.events.of("provinces") if e.kind == "check overridden"] == [
        "first",
        "second",
        "other data",
    ]


def test_a_rejection_is_remembered_by_the_data(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    assert ledger.judgements.rejection(release.data_sha256) is None
    ledger.judgements.record_review(release, "rejected", "ana", "wrong CRS")
    ledger.releases.abandon(release, "rejected")

    found = ledger.judgements.rejection(release.data_sha256)
    assert found is not None
    assert (found.who, found.reason) == ("ana", "wrong CRS")
    assert ledger.judgements.rejection("f" * 64) is None


def test_a_doi_is_registered_once_and_asked_for_again_until_then(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    ledger.deposits.open(release, "zenodo", test=False)
    ledger.deposits.record_registration(release, registered=False)
    (deposit,) = ledger.deposits.all()
    assert deposit.registered_at is None
    for _ in range(2):
        ledger.deposits.record_registration(release, registered=True)
    first = ledger.deposits.of(release)
    assert first is not None
    assert first.registered_at is not None
    ledger.deposits.record_registration(release, registered=False)
    assert ledger.deposits.of(release) == first, "what was seen once stays"
    assert [e.kind for e in ledger.events.of("provinces")].count("doi registered") == 1


def test_a_release_is_found_by_our_identifier(ledger: Ledger, plan: Plan) -> None:
    release = plan(ledger)
    assert ledger.releases.identified(release.identifier) == release
    with pytest.raises(UnknownNameError):
        ledger.releases.identified("urn:d4c:" + "0" * 64)


def test_what_was_written_is_there_for_the_next_process(url: str, plan: Plan) -> None:
    with closing(Ledger(url)) as first:
        release = plan(first)
    with closing(Ledger(url)) as second:
        assert second.releases.get(release.id) == release


def test_what_was_declared_before_a_rule_is_shown_without_its_secret(ledger: Ledger) -> None:
    dataset = load_datasets([])["natural_earth_countries"]
    ledger.declarations.record(dataset)
    table = schema.dataset
    with ledger._engine.begin() as connection:
        declared = connection.execute(select(table.c.declared)).scalar_one()
        declared["source"]["urls"] = ["https://a.ca/x.zip?api_key=s3cret-of-old"]
        connection.execute(update(table).values(declared=declared))
    (remembered,) = ledger.declarations.all()
    assert remembered.source.derived_from(Vintage.parse("2021")) == ("https://a.ca/x.zip?api_key=***",)
