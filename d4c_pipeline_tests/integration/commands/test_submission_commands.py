"""`d4c submit` and `d4c submissions`: a file comes in and is decided on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from d4c_pipeline.commands.main import app
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline_tests.support.submitted import document


def call(home: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--home", str(home), "--json"])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_a_file_is_submitted_once_listed_shown_and_declined(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "submission.yaml"
    file.write_text(yaml.safe_dump(document(title="<script>alert(1)</script>")), "utf-8")
    assert call(home, "submit", str(file))["repeated"] is False
    assert call(home, "submit", str(file))["repeated"] is True
    (line,) = call(home, "submissions", "list")
    assert (line["id"], line["state"], line["title"]) == (1, "submitted", "<script>alert(1)</script>")
    with pytest.raises(D4CError, match="can't become accepted: it is submitted"):
        call(home, "submissions", "accept", "1", "--who", "Mia")
    ledger = Ledger.in_folder(home)
    ledger.submissions.move(1, SubmissionState.ASSESSING, who="assessor")
    ledger.submissions.move(1, SubmissionState.IN_APPRAISAL, who="assessor")
    ledger.close()
    call(home, "submissions", "assign", "1", "Bo", "--who", "Mia")
    declined = call(
        home, "submissions", "decline", "1", "--who", "Mia", "--reason", "no city", "--alternative", "zenodo"
    )
    assert declined["state"] == "declined"
    shown = call(home, "submissions", "show", "1")
    assert shown["events"][-1]["who"] == "Mia"
    assert shown["events"][-1]["alternatives"] == ["zenodo"]
    assert call(home, "submissions", "list", "--state", "accepted") == []
    text = CliRunner().invoke(app, ["submissions", "show", "1", "--home", str(home)]).stdout
    assert "<script>alert(1)</script>" in text
    assert "no city" in text


def test_every_wrong_field_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "submission.yaml"
    wrong = document(submitter={"name": "Ana", "email": "ana@example.ca\nBcc: x@example.ca"}, licence=None, size="big")
    file.write_text(yaml.safe_dump(wrong), "utf-8")
    with pytest.raises(D4CError) as caught:
        call(tmp_path / "home", "submit", str(file))
    assert [name for name in ("submitter.email", "licence", "size") if name not in caught.value.cause] == []
    with pytest.raises(D4CError, match="'lost' is no state"):
        call(tmp_path / "home", "submissions", "list", "--state", "lost")
