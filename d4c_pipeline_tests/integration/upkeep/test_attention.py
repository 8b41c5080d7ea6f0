"""What waits for a person is listed once, with the command that settles it, and leaves the list when it is settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest

from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.model.fixity import CopyKind, CopyState, Verification
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.orchestration.daily.attention import as_markdown, launch_of
from d4c_pipeline.upkeep import attention, inventory
from d4c_pipeline.upkeep.attention import Attention, Kind, needs_attention
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.watch.failures import DISCOVER
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.submitted import submission

__all__ = ["chain", "definitions"]  # fixtures, found by their names here


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def disks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A disk of 1 TB with so many GB free: 500 at first."""

    def leave(free: int) -> None:
        usage = Usage(10**12, 10**12 - free * 10**9, free * 10**9)
        monkeypatch.setattr(attention.shutil, "disk_usage", lambda _: usage)

    leave(500)
    return leave


def found(chain: Chain, *, days: float = 0) -> dict[Kind, Attention]:
    """The findings by kind; the test's deployment has two copies, which is what it requires here."""
    opened = replace(chain.opened, settings=chain.opened.settings.model_copy(update={"copies": 2}))
    listed = needs_attention(opened, [chain.dataset], at=datetime.now(UTC) + timedelta(days=days))
    assert len({each.kind for each in listed}) == len(listed)
    return {each.kind: each for each in listed}


def test_nothing_waits_after_a_publication(chain: Chain) -> None:
    chain.run()
    assert found(chain) == {}
    assert as_markdown(()) == "Nothing waits for a person."


def test_a_failed_partition_and_a_shrunken_source_have_their_own_commands(chain: Chain) -> None:
    failures, name = chain.opened.ledger.failures, chain.dataset.id
    failures.record(name, "2021", "raw", kind="SourceError", transient=False, cause="It | broke", remedy="Mend it")
    failures.record(
        name, "", DISCOVER, kind="ShrunkenListingError", transient=False, cause="lists 1 where it listed 9", remedy=""
    )
    listed = found(chain)
    assert list(listed) == [Kind.FAILED, Kind.SHRUNK]
    failed = listed[Kind.FAILED]
    assert (failed.subject, failed.detail) == (f"{name} 2021", "raw: It | broke. Mend it")
    assert failed.command == f"d4c publish {name} --vintage 2021"
    assert listed[Kind.SHRUNK].command == f"d4c notice {name} --accept"
    table = as_markdown(tuple(listed.values())).splitlines()
    assert table[2] == (
        f"| partition failed | [open](/assets/{name}/raw?view=partitions&partition=2021) | {name} 2021 "
        f"| raw: It \\| broke. Mend it | `d4c publish {name} --vintage 2021` |"
    )
    failures.settle(name, "", DISCOVER)
    failures.record(name, "", DISCOVER, kind="EmptyListingError", transient=False, cause="lists nothing", remedy="")
    assert found(chain)[Kind.SHRUNK].command == f"d4c notice {name}", "nobody can accept an empty listing"


def test_lost_copies_are_counted_by_place_and_a_release_with_too_few_is_named(chain: Chain) -> None:
    chain.run()
    copies = [each for each in expected_copies(chain.opened) if each.kind is CopyKind.RELEASE]
    chain.opened.ledger.fixity.record([Verification(copies[0], CopyState.MISSING, "nothing is there", read=True)])
    chain.opened.ledger.fixity.record([Verification(copies[1], CopyState.UNREACHABLE, "no answer")])
    listed = found(chain)
    assert list(listed) == [Kind.LOST, Kind.UNREACHABLE, Kind.TOO_FEW]
    place = chain.opened.primary.name
    lost = listed[Kind.LOST]
    assert (lost.subject, lost.detail) == (place, "1 copies are damaged or missing by the last audit")
    assert lost.command == "d4c repair"
    assert listed[Kind.TOO_FEW].subject == chain.newest().name
    assert listed[Kind.TOO_FEW].detail.startswith("1 of 2 copies verified")
    # One remedy, which works: a lost copy is repaired, and pushing to mirrors would not help.
    assert listed[Kind.TOO_FEW].command == f"d4c repair {chain.dataset.id}"
    assert str(launch_of(listed[Kind.TOO_FEW])).endswith("/jobs/repair_copies_of_releases/playground")


def test_a_release_without_a_place_for_its_copies_needs_another_store(chain: Chain) -> None:
    chain.run()
    settings = chain.opened.settings.model_copy(update={"copies": 4})
    (short,) = needs_attention(replace(chain.opened, settings=settings), [chain.dataset])
    assert short.kind is Kind.TOO_FEW
    assert short.remedy.startswith("Name another store in D4C_STORES")


def test_a_draft_without_owner_a_hanging_deposit_and_a_silent_archive(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run_up_to("doi")
    listed = found(chain, days=2)
    assert list(listed) == [Kind.HANGING]
    assert listed[Kind.HANGING].command == f"d4c publish {chain.dataset.id} --vintage 2021"
    page = f"/assets/{chain.dataset.id}/deposit?view=partitions&partition=2021"
    assert launch_of(listed[Kind.HANGING]) == page
    with monkeypatch.context() as patched:
        patched.setattr(inventory, "_ENDS", tuple(DepositState))
        patched.setattr(type(chain.opened.ledger.deposits), "all", lambda _: ())
        draft = found(chain)[Kind.DRAFT]
        assert draft.command == "d4c archive drafts"
        assert draft.remedy.startswith("Delete it at ")
        assert launch_of(draft) is None
        assert draft.remedy in as_markdown([draft])

    def silent(_: object) -> None:
        raise TransientError("The archive gives no answer", "Run again later")

    monkeypatch.setattr(type(chain.opened.archive), "drafts", silent)
    archive = found(chain)[Kind.ARCHIVE]
    assert (archive.detail, archive.remedy) == ("The archive gives no answer", "Run again later")


def test_a_doi_that_is_not_registered_a_day_after_publication(chain: Chain) -> None:
    chain.run()
    chain.opened.settings.__dict__["doi_resolver"] = "https://doi.example"  # test DOIs count with their own resolver
    assert found(chain, days=0.9) == {}
    late = found(chain, days=1.1)
    assert list(late) == [Kind.DOI]
    assert (late[Kind.DOI].subject, late[Kind.DOI].command) == (chain.newest().name, "d4c archive dois")
    chain.opened.ledger.deposits.record_registration(chain.newest(), registered=True)
    assert found(chain, days=1.1) == {}


@pytest.mark.parametrize(("free", "full"), [(49, True), (51, False)])
def test_a_disk_that_is_nearly_full(chain: Chain, disks: Callable[[int], None], free: int, full: bool) -> None:
    disks(free)
    listed = found(chain)
    assert (Kind.DISK in listed) is full
    if full:
        assert listed[Kind.DISK].detail == "49.0 GB of 1,000 GB are free"


@pytest.mark.parametrize(("days", "word"), [(31, None), (30, "expires"), (-1, "expired")])
def test_a_token_that_expires(chain: Chain, days: int, word: str | None) -> None:
    expires = datetime.now(UTC).date() + timedelta(days=days)
    assert isinstance(expires, date)
    chain.opened.settings.__dict__["archive_token_expires"] = expires
    listed = found(chain)
    assert (Kind.TOKEN in listed) is (word is not None)
    if word is not None:
        assert listed[Kind.TOKEN].detail == f"the archive's token {word} on {expires}"
        assert "D4C_ARCHIVE_TOKEN_EXPIRES" in listed[Kind.TOKEN].remedy


def test_submissions_that_wait_and_undelivered_notices_are_listed(chain: Chain) -> None:
    submissions = chain.opened.ledger.submissions
    number = submissions.add(submission())[0].id
    assert Kind.SUBMISSION not in found(chain)
    submissions.move(number, SubmissionState.ASSESSING, who="x")
    submissions.move(number, SubmissionState.IN_APPRAISAL, who="x")
    waits = found(chain)[Kind.SUBMISSION]
    assert (waits.subject, waits.command) == ("submission 1", "d4c submissions show 1")
    assert waits.detail.startswith("a decision, since 20")
    submissions.move(number, SubmissionState.ACCEPTED, who="x")
    submissions.move(number, SubmissionState.DRAFTED, who="x", dataset="trees")
    assert found(chain)[Kind.SUBMISSION].command == "d4c submissions ready 1"
    submissions.record_notice(submissions.events(number)[0], "mail", error="refused")
    assert "1 attempts: refused" in found(chain)[Kind.ALERT].detail
