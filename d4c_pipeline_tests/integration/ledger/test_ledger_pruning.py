"""Pruned copies in the ledger, on SQLite and PostgreSQL: a copy is held or given up, never both."""

from __future__ import annotations

from collections.abc import Callable

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.release import Release


def hold(ledger: Ledger, release: Release, store: str) -> None:
    for artifact in release.artifacts:
        ledger.copies.record(
            release,
            artifact.name,
            store,
            address=f"x/{artifact.name}",
            size=artifact.size,
            sha256=artifact.sha256,
            intact=True,
        )


def held(ledger: Ledger, release: Release) -> list[tuple[str, str]]:
    return [(copy.artifact, copy.store) for copy in ledger.copies.of(release)]


def test_a_copy_is_given_up_deleted_and_wanted_again(ledger: Ledger, plan: Callable[..., Release]) -> None:
    release, other = plan(ledger), plan(ledger, vintage="2016")
    for store in ("primary", "west"):
        hold(ledger, release, store)
        hold(ledger, other, store)
    names = [artifact.name for artifact in release.artifacts]
    ledger.pruning.give_up(release, "west")
    assert held(ledger, release) == [(name, "primary") for name in names]
    assert len(held(ledger, other)) == 2 * len(names)
    given_up = ledger.pruning.of(release)
    assert [(one.artifact, one.store, one.address, one.size) for one in given_up] == [
        (name, "west", f"x/{name}", 10) for name in names
    ]
    assert {one.deleted_at for one in given_up} == {None}

    ledger.pruning.record_deleted(release, given_up[0])
    first, *rest = ledger.pruning.of(release)
    assert first.deleted_at is not None
    assert first.deleted_at >= first.given_up_at
    assert all(one.deleted_at is None for one in rest)
    # Once more changes nothing and tells nobody.
    ledger.pruning.give_up(release, "west")
    assert ledger.pruning.of(release) == (first, *rest)

    ledger.pruning.want_again(release, "west")
    ledger.pruning.want_again(release, "west")
    assert ledger.pruning.of(release) == ()
    hold(ledger, release, "west")
    ledger.pruning.give_up(release, "west")
    assert {one.deleted_at for one in ledger.pruning.of(release)} == {None}
    kinds = [event.kind for event in ledger.events.of("provinces")]
    assert (kinds.count("copies given up"), kinds.count("copies wanted again")) == (2, 1)
