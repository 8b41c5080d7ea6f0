"""Which copies the ledger expects, and what it remembers of each, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, Verification
from d4c_pipeline.model.release import Release

DATA, MANIFEST = "a" * 64, "b" * 64


def publish(ledger: Ledger, release: Release, *stores: str) -> Release:
    for store in stores:
        for artifact in release.artifacts:
            address = f"releases/{release.name}/{artifact.name}"
            facts = {"address": address, "size": artifact.size, "sha256": artifact.sha256}
            ledger.copies.record(release, artifact.name, store, **facts, intact=True)
    return ledger.releases.mark_published(release)


def latest(ledger: Ledger) -> list[ExpectedCopy]:
    return [copy for copy in ledger.fixity.expected("primary") if copy.kind is CopyKind.LATEST]


def test_what_is_served_is_expected_in_every_store_that_holds_anything_of_the_dataset(
    ledger: Ledger, plan: Callable[..., Release]
) -> None:
    first = publish(ledger, plan(ledger), "primary", "west")
    publish(ledger, plan(ledger, dataset="other"), "primary", "east")
    assert latest(ledger) == []
    # The west was down when the second release came.
    second = publish(ledger, plan(ledger, version="0.2.0"), "primary")
    ledger.publications.claim_latest(first, ["processed/provinces.parquet"])
    assert latest(ledger) == []  # on its way
    ledger.publications.switch_latest(first, {"processed/provinces.parquet": DATA}, ())
    before = {copy.place: copy for copy in latest(ledger)}
    assert set(before) == {"primary", "west"}
    assert all(ledger.fixity.is_expected(copy) for copy in before.values())
    # An index is no artifact: its bytes are none that a release has.
    serving = {"processed/provinces.parquet": MANIFEST, "processed/provinces/manifest.json": "c" * 64}
    ledger.publications.switch_latest(second, serving, ())
    after = {copy.place: copy for copy in latest(ledger)}
    assert {(copy.address, copy.release_id, copy.sha256, copy.size) for copy in after.values()} == {
        ("processed/provinces.parquet", second.id, MANIFEST, 10)
    }
    assert set(after) == {"primary", "west"}
    assert after["west"].since is not None
    assert before["west"].since is not None
    assert after["west"].since > before["west"].since
    assert not ledger.fixity.is_expected(before["west"])
    assert ledger.fixity.is_expected(after["west"])


def test_what_was_found_is_remembered_once_and_told_when_it_changes(
    ledger: Ledger, plan: Callable[..., Release]
) -> None:
    release = publish(ledger, plan(ledger), "primary", "west")
    ledger.publications.switch_latest(release, {"processed/provinces.parquet": DATA}, ())
    copies = [copy for copy in ledger.fixity.expected("primary") if copy.place == "west"]
    assert len(copies) == 3
    ledger.fixity.record([Verification(copy, CopyState.INTACT, etag="1", read=True, cost=10) for copy in copies])
    ledger.fixity.record([Verification(copies[-1], CopyState.DAMAGED, "rot", read=True)])
    ledger.fixity.record([Verification(copies[-1], CopyState.DAMAGED, "rot", read=True)])
    ledger.fixity.record([Verification(copies[-1], CopyState.INTACT, read=True)], restored_from="primary")
    known = ledger.fixity.known()
    assert known.keys() == {copy.key for copy in copies}
    assert {one.state for one in known.values()} == {CopyState.INTACT}
    told = [event.kind for event in ledger.events.of("provinces") if event.kind.startswith("copy ")]
    assert told == ["copy damaged", "copy restored"]
    ledger.fixity.forget([copies[0].key])
    assert len(ledger.fixity.known()) == 2
