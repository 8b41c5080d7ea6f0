"""An accepted submission becomes a draft that loads: from uploads, from a source, after a crash, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.appraisal import drafts, quarantine
from d4c_pipeline.appraisal.drafts import draft_submission, drafts_folder
from d4c_pipeline.appraisal.notices import settle
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.errors import BusyError, PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.integration.appraisal.conftest import ORIGIN
from d4c_pipeline_tests.support.submitted import submission

S = SubmissionState
CSV = b"tree_id,species,planted\n1,Maple,2019\n2,Oak,2020\n3,Elm,2021\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.in_folder(tmp_path)) as opened:
        yield opened


def accepted(ledger: Ledger, **changes: Any) -> int:
    number = ledger.submissions.add(submission(**changes))[0].id
    for state in (S.ASSESSING, S.IN_APPRAISAL, S.ACCEPTED):
        ledger.submissions.move(number, state, who="Mia")
    return number


def test_uploads_are_drafted_with_what_the_submitter_stated(ledger: Ledger, tmp_path: Path) -> None:
    number = accepted(ledger, sources=None, upload=True, language="fr", title="Arbres de rue", licence="CC BY 4.0")
    (quarantine.upload_folder(tmp_path, number) / "trees.csv").write_bytes(CSV)
    settings = Settings(home=tmp_path)
    record, file = draft_submission(ledger, settings, number)
    assert (record.state, file) == (S.DRAFTED, drafts_folder(tmp_path, number) / str(record.dataset) / "defs.yaml")
    dataset = load_datasets([drafts_folder(tmp_path, number)])[str(record.dataset)]
    assert (dataset.title.fr, dataset.title.en) == ("Arbres de rue", "to translate: Arbres de rue")
    assert dataset.license == "cc-by-4.0"
    assert dataset.description.fr == "Position and species of every street tree."
    text = file.read_text("utf-8")
    assert f"stated in submission {number}" in text
    assert "ana@example.ca" not in text
    assert "Ana Roy" not in text
    assert draft_submission(ledger, settings, number) == (record, file)
    assert [event.state for event in ledger.submissions.events(number)].count(S.DRAFTED) == 1


def test_a_source_is_fetched_with_the_guard_and_drafted(
    ledger: Ledger, tmp_path: Path, origins: dict[str, str]
) -> None:
    settings = Settings(home=tmp_path, origins=origins)
    number = accepted(ledger, sources=[f"{ORIGIN}/trees.csv"])
    record, file = draft_submission(ledger, settings, number)
    assert record.state is S.DRAFTED
    assert f"{ORIGIN}/trees.csv" in file.read_text("utf-8")
    assert not (quarantine.submission_folder(tmp_path, number) / "draft").exists()
    inner = accepted(ledger, sources=["http://10.0.0.7/trees.csv"], title="Inner")
    with pytest.raises(PermanentError, match="no public address"):
        draft_submission(ledger, settings, inner)
    assert ledger.submissions.get(inner).state is S.ACCEPTED


def test_a_killed_draft_is_made_again_and_two_at_once_are_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = accepted(ledger, sources=None, upload=True)
    (quarantine.upload_folder(tmp_path, number) / "trees.csv").write_bytes(CSV)
    settings = Settings(home=tmp_path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drafts, "drafted", killed)
        with pytest.raises(KeyboardInterrupt):
            draft_submission(ledger, settings, number)
    assert ledger.submissions.get(number).state is S.ACCEPTED
    with ledger.leases.hold(lease_keys.of_submission(number)), pytest.raises(BusyError):
        draft_submission(ledger, settings, number)
    assert draft_submission(ledger, settings, number)[0].state is S.DRAFTED
    other = ledger.submissions.add(submission(title="Other"))[0].id
    with pytest.raises(PermanentError, match="is submitted, not accepted"):
        draft_submission(ledger, settings, other)


def test_files_of_finished_submissions_are_swept(ledger: Ledger, tmp_path: Path) -> None:
    kept, gone = accepted(ledger), ledger.submissions.add(submission(title="Gone"))[0].id
    ledger.submissions.move(gone, S.ASSESSING, who="x")
    ledger.submissions.move(gone, S.DECLINED, who="x", reason="rights")
    for number in (kept, gone):
        (quarantine.upload_folder(tmp_path, number) / "a.csv").write_bytes(CSV)
    assert settle(ledger, Settings(home=tmp_path)) == ()
    assert (quarantine.held(tmp_path, kept), quarantine.held(tmp_path, gone)) == (len(CSV), 0)
