"""Tells submitters of every change of their submissions: by mail (Apprise), and by a webhook of theirs.

A lease lets one process send. Each delivery is a row of the ledger, so that a notice is sent again only after a failure
or a crash between sending and recording. A webhook's address is a stranger's, so it is requested like a source
(`sources.fetch.web`): public addresses only, also after a redirect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.appraisal.decisions import note_published
from d4c_pipeline.appraisal.policy import Alternatives, alternatives_of
from d4c_pipeline.appraisal.words import words
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import FINAL, SubmissionEvent, SubmissionRecord, SubmissionState
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.transport.messages import deliver, mail_to
from d4c_pipeline.transport.patience import FAILURES, Patience, explain

MAIL, WEBHOOK = "mail", "webhook"
_TOLD = tuple(state for state in SubmissionState if state is not SubmissionState.ASSESSING)
_MOST_ATTEMPTS = 8
_FIRST_PAUSE = timedelta(minutes=1)  # doubles with each failed delivery: the eighth comes two hours after the first
_PATIENCE = Patience(attempts=1, connect_timeout=10, read_timeout=10, whole_timeout=30)


@dataclass(frozen=True)
class Told:
    """The number of delivered notices and of failed deliveries."""

    delivered: int
    failed: int


def tell(
    ledger: Ledger,
    settings: Settings,
    *,
    appraisal: AppraisalSettings | None = None,
    at: datetime | None = None,
) -> Told:
    """Send every notice that is due. `at`: the present time.

    Without a mail server, only webhooks are told. A failed delivery is recorded, and repeated by a later call up to
    eight times. Raises BusyError while another process sends, PermanentError for a wrong setting.
    """
    chosen = appraisal or AppraisalSettings.from_environment()
    server, alternatives = chosen.mail_server(), alternatives_of(chosen)
    delivered = failed = 0
    with ledger.leases.hold(lease_keys.SUBMISSION_NOTICES, wait=0) as lease:
        for due in ledger.submissions.due_notices((MAIL, WEBHOOK), _MOST_ATTEMPTS, _TOLD):
            record = ledger.submissions.get(due.event.submission_id)
            receiver = record.submission.submitter
            if (server if due.channel == MAIL else receiver.webhook) is None:
                continue
            if due.last_at is not None and (at or datetime.now(UTC)) < due.last_at + _pause(due.attempts):
                continue
            lease.renew()
            if due.channel == MAIL:
                subject, body = message(record, due.event, alternatives, private_address(settings, record))
                error = deliver(mail_to(str(server), receiver.email), subject, body)
            else:
                document = described(record, due.event, private_address(settings, record))
                error = _posted(str(receiver.webhook), document, settings.origins)
            ledger.submissions.record_notice(due.event, due.channel, error=error)
            delivered, failed = delivered + (error is None), failed + (error is not None)
    return Told(delivered, failed)


def settle(ledger: Ledger, settings: Settings) -> tuple[SubmissionRecord, ...]:
    """Move ready submissions with a release to `published`, and delete the files of finished ones; return the moved."""
    moved = note_published(ledger)
    finished = {line.id for line in ledger.submissions.lines(FINAL)}
    quarantine.sweep(settings.home, finished.__contains__)
    return moved


def private_address(settings: Settings, record: SubmissionRecord) -> str | None:
    """Return the private address of a submission; None for a deployment without a public address."""
    base = settings.portal_url or settings.store_url
    return None if base is None else f"{base.rstrip('/')}/submission/{record.token}"


def message(
    record: SubmissionRecord, event: SubmissionEvent, alternatives: Alternatives, address: str | None
) -> tuple[str, str]:
    """Return subject and plain text of the mail of an event, in the language of the submission."""
    language = record.submission.language
    texts = words(language)
    mail: Mapping[str, str] = texts["mail"]
    subject = mail["subject"].format(
        number=record.id, state=texts["states"][event.state.value], title=record.submission.title
    )
    lines = [mail["greeting"].format(name=record.submission.submitter.name), ""]
    if specialist := event.detail.get("assigned_to"):
        lines.append(mail["assigned"].format(specialist=specialist))
    else:
        lines.append(texts["meanings"][event.state.value])
    if event.reason:
        lines += ["", mail["reason"].format(reason=event.reason)]
    named = set(event.detail.get("alternatives", ()))
    if found := [each for each in alternatives.repositories if each.id in named]:
        lines += ["", mail["alternatives"]]
        for each in found:
            name, takes = (each.name.fr, each.takes.fr) if language == "fr" else (each.name.en, each.takes.en)
            lines += [f"- {name}, {each.url}", f"  {takes}"]
    if doi := event.detail.get("doi"):
        lines += ["", mail["doi"].format(doi=doi)]
    if address is not None:
        lines += ["", mail["page"].format(address=address), mail["closing"]]
    return " ".join(subject.split()), "\n".join(lines)


def described(record: SubmissionRecord, event: SubmissionEvent, address: str | None) -> dict[str, Any]:
    """Return the document of an event for a webhook."""
    return {
        "submission": record.id,
        "title": record.submission.title,
        "state": event.state.value,
        "reason": event.reason,
        "at": event.at.isoformat(timespec="seconds"),
        "doi": event.detail.get("doi"),
        "alternatives": event.detail.get("alternatives", []),
        "address": address,
    }


def _pause(attempts: int) -> timedelta:
    return _FIRST_PAUSE * 2 ** max(0, attempts - 1)


def _posted(address: str, document: Mapping[str, Any], origins: Mapping[str, str]) -> str | None:
    """Send a document to a webhook; return why it failed, None if it was accepted."""
    web = Web(origins=origins, patience=_PATIENCE)
    try:
        with web.answer(
            "POST", address, {"Content-Type": "application/json"}, passing=(202, 204), body=orjson.dumps(document)
        ):
            return None
    except D4CError as error:
        return error.cause
    except FAILURES as error:
        return explain(error, address, 1, 0.0).cause
