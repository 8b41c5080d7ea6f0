"""What a submission may hold, and what makes two of them the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.model.submission import FINAL, MOVES, SubmissionState
from d4c_pipeline_tests.support.submitted import document, submission


def causes(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        submission(**changes)
    return "; ".join(each["msg"] for each in caught.value.errors())


@pytest.mark.parametrize(
    "mail",
    [
        "ana@example.ca\nBcc: all@example.ca",
        "ana@example.ca\r\nSubject: won",
        "ana@example.ca\n",
        "Ana <ana@example.ca>",
        "ana@example.ca,bob@example.ca",
        "ana@localhost",
        "@example.ca",
        "ana@exa mple.ca",
        "aña@example.ca",
        f"ana@{'a' * 64}.ca",
    ],
)
def test_a_mail_address_adds_no_header_and_no_receiver(mail: str) -> None:
    assert "is not one mail address" in causes(submitter={"name": "Ana", "email": mail})


@pytest.mark.parametrize("mail", ["ana.roy+d4c@stat.example.ca", "o'neil@example.com"])
def test_usual_mail_addresses_are_taken(mail: str) -> None:
    assert submission(submitter={"name": "Ana", "email": mail}).submitter.email == mail


def test_a_script_in_a_title_stays_text_and_controls_are_refused() -> None:
    assert submission(title="<script>alert(1)</script>").title == "<script>alert(1)</script>"
    assert "a control character (U+0000)" in causes(title="Trees\x00")
    assert "turns the direction" in causes(title="Trees \u202egpj.exe")
    assert "has a line break" in causes(title="Trees\nBcc: all@example.ca")


def test_nothing_to_take_in_is_refused() -> None:
    assert "give at least one source address" in causes(sources=[])
    assert submission(sources=None, upload=True).sources == ()
    assert "is not an http(s) address" in causes(sources=["file:///etc/passwd"])
    assert "given twice" in causes(sources=["https://a.ca/x", "https://a.ca/x"])
    assert "at most 20 items" in causes(sources=[f"https://a.ca/{n}" for n in range(21)])


def test_addresses_with_secrets_and_webhooks_without_tls_are_refused() -> None:
    assert "would be published" in causes(sources=["https://ana:secret@data.example.ca/x.csv"])
    assert "no https address" in causes(
        submitter={"name": "Ana", "email": "ana@example.ca", "webhook": "http://example.ca/hook"}
    )


def test_size_bounds_and_period() -> None:
    assert submission(size="12 MB").size == 12_000_000
    assert submission(size="500").size == 500
    assert "is no size" in causes(size="big")
    assert "not west, south, east, north" in causes(bounds=[-75, 46, -74, 45])
    assert "before the start" in causes(start=2025, end=2024)
    assert "differ in form" in causes(start="2024-05", end=2025)
    assert submission(start=2024, end="2024-05").end == "2024-05"


def test_the_same_content_has_the_same_digest_whatever_its_order() -> None:
    assert submission().digest == submission(**dict(reversed(document().items()))).digest
    assert submission(title="Trees of Example").digest != submission().digest


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    reached = {SubmissionState.SUBMITTED} | {state for following in MOVES.values() for state in following}
    assert reached == set(SubmissionState)
    assert set(FINAL) == {SubmissionState.DECLINED, SubmissionState.PUBLISHED}
