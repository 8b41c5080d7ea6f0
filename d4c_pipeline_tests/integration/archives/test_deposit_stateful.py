"""Random lives of deposits: workers that crash anywhere or meet in the middle, answers that go astray, hands that
meddle with drafts, plans that are overtaken; in the local archive and in the fake InvenioRDM.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from d4c_pipeline.archives import deposit
from d4c_pipeline.ledger import schema
from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.model.release import DepositState, Release
from d4c_pipeline_tests.fakes.deposits import InvenioHome
from d4c_pipeline_tests.fakes.faults import Fault, Kind
from d4c_pipeline_tests.fakes.invenio import FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import State

# Kills and unreachable servers are crashes here; a time-out only costs time.
ASTRAY = sorted(set(Kind) - {Kind.KILLED_BEFORE, Kind.KILLED_AFTER, Kind.REFUSED, Kind.TIMEOUT_AFTER})


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.parametrize("kind", ["local", "fake"])
def test_random_lives_end_in_one_record_per_release(
    planned_home: tuple[Any, Release], fake: FakeInvenio, clock: Any, crash: type[BaseException], kind: str
) -> None:
    class Lives(RuleBasedStateMachine):
        """Publishing up to a few versions of one vintage, with everything that may get in the way."""

        @initialize()
        def begin(self) -> None:
            self.scratch = Path(tempfile.mkdtemp())
            self.home: Any = planned_home[0].copy(self.scratch / "home")
            if kind == "fake":
                fake.restore(State())
                fake.begin()
                self.home = InvenioHome(self.home.folder, fake)
            self.release: Release | None = planned_home[1]
            self.published: list[Release] = []
            self.dois: dict[str, str] = {}
            self.patch = 0

        def _run(self, at: int | None) -> None:
            assert self.release is not None
            counted = clock(at=at)
            with closing(self.home.ledger()) as ledger:
                self.home.publish(
                    self.release, ledger=counted.wrap_ledger(ledger), archive=counted.wrap(self.home.archive())
                )
            self.published.append(self.release)
            self.release = None

        @precondition(lambda self: self.release is not None)
        @rule(at=st.integers(0, 45))
        def a_worker_runs_and_may_crash(self, at: int) -> None:
            with suppress(crash):
                self._run(at)

        @precondition(lambda self: self.release is not None)
        @rule()
        def a_worker_runs_to_the_end(self) -> None:
            self._run(None)

        @precondition(lambda self: self.release is not None)
        @rule(at=st.integers(0, 45), dies_at=st.none() | st.integers(0, 45))
        def two_workers_meet(self, at: int, dies_at: int | None) -> None:
            """One stalls, its lease expires, another works meanwhile (to its end, or it dies), the first goes on."""

            def meanwhile() -> None:
                with closing(self.home.ledger()) as ledger:
                    with ledger._engine.begin() as connection:
                        connection.execute(sqlalchemy.delete(schema.lease))
                    other = clock(at=dies_at)
                    with suppress(crash, D4CError):
                        self.home.publish(
                            self.release, ledger=other.wrap_ledger(ledger), archive=other.wrap(self.home.archive())
                        )

            counted = clock(at=at, act=meanwhile)
            with closing(self.home.ledger()) as ledger, suppress(D4CError):
                self.home.publish(
                    self.release, ledger=counted.wrap_ledger(ledger), archive=counted.wrap(self.home.archive())
                )

        @precondition(lambda self: self.release is not None and kind == "fake")
        @rule(fault=st.sampled_from(ASTRAY), at=st.integers(0, 25), lasting=st.booleans())
        def answers_go_astray(self, fault: Kind, at: int, lasting: bool) -> None:
            fake.begin(Fault(fault, at, lasting=lasting))
            with suppress(D4CError):
                self.home.publish(self.release)
            fake.begin()

        @precondition(lambda self: self.release is None)
        @rule()
        def a_successor_is_planned(self) -> None:
            self.patch += 1
            self.release = self.home.plan(f"0.1.{self.patch}", b"data %d" % self.patch)

        @precondition(lambda self: self.release is not None)
        @rule(crashes=st.none() | st.integers(0, 10), data=st.binary(min_size=1, max_size=5))
        def the_plan_is_overtaken(self, crashes: int | None, data: bytes) -> None:
            assert self.release is not None
            with closing(self.home.ledger()) as ledger:
                known = ledger.deposits.of(self.release)
                if known is not None and known.state in (DepositState.PUBLISHING, DepositState.PUBLISHED):
                    return
                counted = clock(at=crashes)
                with suppress(crash):
                    deposit.abandon(counted.wrap_ledger(ledger), counted.wrap(self.home.archive()), self.release)
                deposit.abandon(ledger, self.home.archive(), self.release)
                ledger.releases.abandon(self.release, "overtaken")
            self.release = self.home.plan(f"0.1.{self.patch}", b"other " + data)

        def _draft(self) -> Any:
            assert self.release is not None
            drafts = self.home.archive().find_drafts(self.release.identifier)
            return drafts[0] if drafts else None

        @precondition(lambda self: self.release is not None)
        @rule()
        def a_hand_deletes_the_draft(self) -> None:
            if (draft := self._draft()) is not None:
                self.home.archive().discard(draft)

        @precondition(lambda self: self.release is not None)
        @rule(name=st.sampled_from(["data.parquet", "manifest.json", "notes.txt"]))
        def a_hand_changes_a_file(self, name: str) -> None:
            if (draft := self._draft()) is not None:
                other = self.scratch / "other"
                other.write_text("edited by hand")
                self.home.archive().delete_file(draft, name)
                self.home.archive().upload(draft, name, other)

        @precondition(lambda self: self.release is not None)
        @rule()
        def the_deposit_runs_alone(self) -> None:
            assert self.release is not None
            metadata = self.home.metadata(self.release)
            with closing(self.home.ledger()) as ledger, suppress(PermanentError):  # nothing is reserved
                files = self.home.staged(str(self.release.version))
                deposit.complete(ledger, self.home.archive(), self.release, files, metadata)

        @invariant()
        def what_is_published_stays(self) -> None:
            if not hasattr(self, "home"):
                return
            identifiers = [identifier for identifier, _ in self.home.records()]
            assert len(set(identifiers)) == len(identifiers)
            for identifier in identifiers:
                record = self.home.archive().find_published(identifier)
                assert record is not None
                assert self.dois.setdefault(identifier, record.doi) == record.doi
            if kind == "fake":
                self.home.close()

        def teardown(self) -> None:
            if not hasattr(self, "home"):
                return
            if self.release is not None:
                self._run(None)
            self.home.check_published_once(*self.published)
            concepts = {self.home.archive().find_published(r.identifier).concept_doi for r in self.published}
            assert len(concepts) <= 1
            if kind == "fake":
                self.home.close()
                assert [draft.id for draft in fake.state.drafts()] == []
            shutil.rmtree(self.scratch)

    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=int(os.environ.get("D4C_TEST_LIVES", "5")),
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
