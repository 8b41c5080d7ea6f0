"""Processes that work on a submission are killed before and after each move; the next one goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import yaml

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.submitted import document

S = SubmissionState
MOVE = "d4c_pipeline.ledger.submissions:Submissions.move"
WAY = (
    (("submit", "{file}"), ["d4c_pipeline.ledger.submissions:Submissions.add"]),
    (("submissions", "assess"), [MOVE, "d4c_pipeline.appraisal.assessment:_record"]),
    (("submissions", "accept", "1", "--who", "Mia", "--reason", "good"), [MOVE]),
    (("submissions", "draft", "1"), [MOVE]),
    (("submissions", "ready", "1", "--who", "Bo"), [MOVE]),
)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_process_loses_no_submission_and_decides_nothing_twice(d4c: D4C, tmp_path: Path, when: str) -> None:
    file = tmp_path / "submission.yaml"
    file.write_text(yaml.safe_dump(document(sources=None, upload=True)), "utf-8")
    for arguments, places in WAY:
        call = [part.format(file=file) for part in arguments]
        for where in places:
            assert d4c(*call, kill=(where, when)).code == -9, (call, where)
        # What the killed process had done already is answered, and not done again.
        done = d4c(*call)
        assert done.code == 0, done.stderr
        if call[0] == "submit":
            (quarantine.upload_folder(d4c.home, 1) / "trees.csv").write_bytes(b"tree_id,name\n1,a\n2,b\n")
            with closing(Ledger.in_folder(d4c.home)) as ledger:
                ledger.submissions.complete_files(1)
    with closing(Ledger.in_folder(d4c.home)) as ledger:
        states = [event.state for event in ledger.submissions.events(1)]
    assert states == [S.SUBMITTED, S.ASSESSING, S.IN_APPRAISAL, S.ACCEPTED, S.DRAFTED, S.READY]
