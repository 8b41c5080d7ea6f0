"""Submitters are told by a real mail server and a real webhook: once per change, in their language."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from d4c_pipeline.appraisal import decisions
from d4c_pipeline.appraisal.notices import MAIL, WEBHOOK, Told, message, tell
from d4c_pipeline.appraisal.policy import alternatives_of
from d4c_pipeline.appraisal.words import words
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import BusyError, PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline_tests.support.mail_server import mail_server, text_of
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.submitted import submission

S = SubmissionState
ALTERNATIVES = alternatives_of(AppraisalSettings())


@contextmanager
def mail_settings() -> Iterator[tuple[AppraisalSettings, list[EmailMessage]]]:
    with mail_server() as (address, received):
        yield AppraisalSettings(mail=SecretStr(address)), received


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.in_folder(tmp_path)) as opened:
        yield opened


def test_every_change_is_mailed_once_in_the_language_of_the_submission(ledger: Ledger, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, portal_url="https://data.example.org")
    ana = {"name": "Ana Roy", "email": "ana+d4c@example.ca"}
    record, _ = ledger.submissions.add(submission(submitter=ana, language="fr", title="Arbres <b>& été</b>"))
    number = record.id
    with mail_settings() as (appraisal, received):
        assert tell(ledger, settings, appraisal=appraisal) == Told(1, 0)
        assert tell(ledger, settings, appraisal=appraisal) == Told(0, 0)
        ledger.submissions.move(number, S.ASSESSING, who="assessment")
        ledger.submissions.move(number, S.IN_APPRAISAL, who="assessment")
        decisions.accept(ledger, number, who="Mia")
        decisions.assign(ledger, number, "Bo Chen", who="Mia")
        decisions.drafted(ledger, number, "trees", who="Bo")
        decisions.ready(ledger, number, who="Bo")
        ledger.submissions.move(number, S.PUBLISHED, who="d4c", doi="10.5072/x", detail={"doi": "10.5072/x"})
        assert tell(ledger, settings, appraisal=appraisal) == Told(6, 0)
    assert [mail["Subject"] for mail in received] == [
        f"Soumission {number} : {state} : Arbres <b>& été</b>"
        for state in ("Soumis", "En appréciation", "Accepté", "Accepté", "Ébauché", "Prêt à publier", "Publié")
    ]
    assert {mail["To"] for mail in received} == {"ana+d4c@example.ca"}
    assert f"https://data.example.org/submission/{record.token}" in text_of(received[0])
    assert "Bo Chen s'occupe de votre soumission." in text_of(received[3])
    assert "DOI : https://doi.org/10.5072/x" in text_of(received[-1])
    assert all(not mail.is_multipart() or mail.get_content_type() != "text/html" for mail in received)


def test_a_refusal_names_the_reason_and_other_repositories(ledger: Ledger) -> None:
    number = ledger.submissions.add(submission())[0].id
    ledger.submissions.move(number, S.ASSESSING, who="assessment")
    ledger.submissions.move(number, S.IN_APPRAISAL, who="assessment")
    record = decisions.decline(ledger, ALTERNATIVES, number, who="Mia", reason="no city", named=["zenodo"])
    subject, body = message(record, ledger.submissions.events(number)[-1], ALTERNATIVES, None)
    assert subject == f"Submission {number}: Declined: Street trees of Example"
    assert "Reason: no city" in body
    assert "- Zenodo, https://zenodo.org" in body


def test_a_webhook_is_told_and_a_private_one_never_requested(ledger: Ledger, tmp_path: Path) -> None:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    settings = Settings(home=tmp_path, origins={"https://hooks.example.ca": here})
    for hook in ("https://hooks.example.ca/a", f"https://127.0.0.1:{server.server_port}/b"):
        ana = {"name": "Ana", "email": "ana@example.ca", "webhook": hook}
        ledger.submissions.add(submission(submitter=ana, title=f"To {hook[:20]}"))
    assert tell(ledger, settings, appraisal=AppraisalSettings()) == Told(1, 1)
    server.shutdown()
    server.server_close()
    assert [(each["state"], each["submission"]) for each in received] == [("submitted", 1)]
    (left,) = ledger.submissions.due_notices([WEBHOOK], 8)
    assert (left.event.submission_id, left.attempts) == (2, 1)


def test_a_dead_mail_server_is_tried_again_later_and_given_up_at_last(ledger: Ledger, tmp_path: Path) -> None:
    ledger.submissions.add(submission())
    settings, dead = (
        Settings(home=tmp_path),
        AppraisalSettings(mail=SecretStr(f"mailto://127.0.0.1:{free_port()}?from=a@b.ca")),
    )
    moment = datetime.now(UTC)
    assert tell(ledger, settings, appraisal=dead) == Told(0, 1)
    assert tell(ledger, settings, appraisal=dead, at=moment + timedelta(seconds=30)) == Told(0, 0)
    with mail_settings() as (appraisal, received):
        assert tell(ledger, settings, appraisal=appraisal, at=moment + timedelta(seconds=90)) == Told(1, 0)
        assert len(received) == 1
    for _ in range(8):
        ledger.submissions.record_notice(ledger.submissions.events(1)[0], MAIL, error="refused")
    assert ledger.submissions.due_notices([MAIL], 8) == ()
    with ledger.leases.hold(lease_keys.SUBMISSION_NOTICES), pytest.raises(BusyError):
        tell(ledger, settings, appraisal=dead)


def test_a_release_publishes_the_ready_submission_of_its_dataset(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = ledger.submissions.add(submission())[0].id
    for state in (S.ASSESSING, S.IN_APPRAISAL, S.ACCEPTED):
        ledger.submissions.move(number, state, who="Mia")
    decisions.drafted(ledger, number, "trees", who="Bo")
    decisions.ready(ledger, number, who="Bo")
    assert decisions.note_published(ledger) == ()
    monkeypatch.setattr(ledger.releases, "published", lambda dataset: (dataset,) if dataset == "trees" else ())
    monkeypatch.setattr(ledger.deposits, "of", lambda _: SimpleNamespace(doi="10.5072/x"))
    (record,) = decisions.note_published(ledger)
    assert (record.id, record.state, record.doi) == (number, S.PUBLISHED, "10.5072/x")
    assert decisions.note_published(ledger) == ()


def test_both_languages_have_the_same_texts() -> None:
    def keys(texts: Any, path: str = "") -> set[str]:
        if not isinstance(texts, dict):
            return {path}
        return {key for name, each in texts.items() for key in keys(each, f"{path}/{name}")}

    # On the English page of the metadata form a wrong field has the cause that the model states.
    of_the_model = {key for key in keys(words("fr")) if key.startswith("/metadata/errors/")} - keys(words("en"))
    assert keys(words("en")) == keys(words("fr")) - of_the_model
    assert set(words("en")["states"]) == set(words("en")["meanings"]) == {state.value for state in S}


def test_a_wrong_mail_server_is_a_sentence_without_its_secret() -> None:
    with pytest.raises(PermanentError) as caught:
        AppraisalSettings(mail=SecretStr("https://hook/secret-4711")).mail_server()
    assert "secret-4711" not in str(caught.value)
