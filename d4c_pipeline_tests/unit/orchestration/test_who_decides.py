"""Whose decision the job `review` records."""

from __future__ import annotations

import os
import pwd
from types import SimpleNamespace
from typing import Any

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.orchestration.resources import SIGNED_IN_TAG
from d4c_pipeline.orchestration.reviewing import decider


def run(tags: dict[str, str], *, remote: bool = True) -> Any:
    return SimpleNamespace(tags=tags, remote_job_origin=object() if remote else None)


def test_the_sign_in_decides_and_a_text_field_is_but_noted() -> None:
    assert decider(run({SIGNED_IN_TAG: "ana"}), "") == "ana"
    assert decider(run({SIGNED_IN_TAG: "ana"}), "ana") == "ana"
    assert decider(run({SIGNED_IN_TAG: "ana"}), "Ben") == "ana on behalf of Ben"


def test_a_run_from_a_ui_where_nobody_signed_in_decides_nothing() -> None:
    with pytest.raises(PermanentError, match="Nobody signed in"):
        decider(run({}), "Ana")


def test_a_run_of_this_process_is_the_system_s_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")
    assert decider(run({}, remote=False), "") == pwd.getpwuid(os.getuid()).pw_name
