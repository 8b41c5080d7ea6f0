"""The assessment of a submission: fetches its files, examines and judges them, and records the result.

A lease lets one process assess a submission. A killed assessment leaves the state `assessing`, and the next call begins
again; an unfinished fetch is resumed. A failure of a criterion that declines does so here, without a manager.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.appraisal.criteria import Facts, Judgement, Twin, declining, judged
from d4c_pipeline.appraisal.delivered import Delivered, fetched, uploaded
from d4c_pipeline.appraisal.examination import FileFacts, examined
from d4c_pipeline.appraisal.history import History, histories
from d4c_pipeline.appraisal.policy import Alternatives, Policy, alternatives_of, policy_of
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import FINAL, SubmissionRecord, SubmissionState
from d4c_pipeline.processing.checks.verdict import Outcome

WHO = "assessment"
_ALIKE = 0.8  # share of columns that two tables with as many rows have in common
_FEW_COLUMNS = 3


def assess(
    ledger: Ledger, settings: Settings, number: int, *, appraisal: AppraisalSettings | None = None
) -> SubmissionRecord:
    """Assess a submission and record the result: it is in appraisal then, or declined by rule.

    Raises PermanentError when its state does not lead to an assessment or its files are not complete, BusyError when
    another process assesses it, StorageError when the quarantine can't be written.
    """
    chosen = appraisal or AppraisalSettings.from_environment()
    policy, alternatives = policy_of(chosen), alternatives_of(chosen)
    with ledger.leases.hold(lease_keys.of_submission(number), wait=0):
        record = ledger.submissions.get(number)
        if not record.files_complete:
            raise PermanentError(f"The files of submission {number} are not complete", "Wait for its submitter")
        if record.state is not SubmissionState.ASSESSING:
            record = ledger.submissions.move(number, SubmissionState.ASSESSING, who=WHO)
        folder = quarantine.submission_folder(settings.home, number)
        facts = _facts(ledger, settings, policy, record, folder)
        judgements = judged(facts, policy)
        changes = histories(record.submission.sources, settings.origins)
        moved = _record(ledger, policy, alternatives, record, facts, judgements, changes)
        for scratch in ("source", "work"):
            shutil.rmtree(folder / scratch, ignore_errors=True)
        if moved.state in FINAL:
            quarantine.discard(settings.home, number)
        return moved


def _facts(ledger: Ledger, settings: Settings, policy: Policy, record: SubmissionRecord, folder: Path) -> Facts:
    submission, largest = record.submission, policy.criteria.size.largest
    own = uploaded(folder / "upload")
    delivered: Sequence[Delivered] = ()
    if (submission.size or 0) <= largest:  # a stated size beyond the quota needs no fetch
        left = largest - sum(path.stat().st_size for path in own)
        delivered = fetched(submission.sources, folder / "source", most=left, origins=settings.origins)
    paths: dict[Path, str | None] = dict.fromkeys(own, None)
    paths |= {each.path: each.address for each in delivered if each.path is not None}
    files = examined(paths, folder / "work", settings, what=f"The assessment of submission {record.id}")
    return Facts(submission, delivered, files, _twins(ledger, record, files))


def _record(
    ledger: Ledger,
    policy: Policy,
    alternatives: Alternatives,
    record: SubmissionRecord,
    facts: Facts,
    judgements: Sequence[Judgement],
    changes: Sequence[History],
) -> SubmissionRecord:
    document = {
        "policy": policy.version,
        "assessed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "size": facts.size,
        "bounds": facts.bounds,
        "files": [file.model_dump(mode="json", exclude_none=True) for file in facts.files],
        "history": [each.document() for each in changes],
        "criteria": [
            {
                "criterion": each.criterion,
                "verdict": each.outcome.word,
                "sentence": each.en,
                "sentence_fr": each.fr,
            }
            for each in judgements
        ],
    }
    decisive = declining(judgements, policy)
    if not decisive:
        return ledger.submissions.move(record.id, SubmissionState.IN_APPRAISAL, who=WHO, assessment=document)
    failed = [each.criterion for each in judgements if each.outcome is Outcome.FAILURE]
    # The page has both languages, the mail that of the submission.
    reasons = {"en": " ".join(each.en for each in decisive), "fr": " ".join(each.fr for each in decisive)}
    return ledger.submissions.move(
        record.id,
        SubmissionState.DECLINED,
        who=f"appraisal policy {policy.version}",
        reason=reasons[record.submission.language],
        detail={
            "criteria": failed,
            "alternatives": [each.id for each in alternatives.suiting(failed)],
            "reasons": reasons,
        },
        assessment=document,
    )


def _twins(ledger: Ledger, record: SubmissionRecord, files: Sequence[FileFacts]) -> list[Twin]:
    """Return the duplicates: by checksum, by source address, by content, by number of rows and columns."""
    sha256s = {file.sha256 for file in files}
    contents = {part.content for file in files for part in file.parts if part.content is not None}
    addresses = record.submission.sources
    found: dict[str, Twin] = {}
    for dataset, vintage, native in ledger.natives.same(sha256s, addresses):
        sure = native.sha256 in sha256s
        what_en, what_fr = ("the file", "le fichier") if sure else ("the address", "l'adresse")
        found.setdefault(
            f"{dataset} {sure}",
            Twin(
                f"The dataset {dataset} ({vintage}) has {what_en} {native.name} already.",
                f"Le jeu de données {dataset} ({vintage}) a déjà {what_fr} {native.name}.",
                sure,
            ),
        )
    same_bytes = {line.id for line in ledger.submissions.with_files(sha256s, record.id)}
    for number in sorted(same_bytes | {line.id for line in ledger.submissions.with_source(addresses, record.id)}):
        sure = number in same_bytes
        what_en, what_fr = ("files", "fichiers") if sure else ("addresses", "adresses")
        found[f"submission {number}"] = Twin(
            f"Submission {number} has the same {what_en}.", f"La soumission {number} a les mêmes {what_fr}.", sure
        )
    for number in sorted({line.id for line in ledger.submissions.with_content(contents, record.id)} - same_bytes):
        found[f"submission {number}"] = Twin(
            f"Submission {number} has a table or layer with the same values in another file.",
            f"La soumission {number} a une table ou une couche aux mêmes valeurs dans un autre fichier.",
            sure=True,
        )
    for name, dataset in _alike(ledger, files).items():
        if not any(key.startswith(f"{dataset} ") for key in found):
            found[f"{dataset} alike"] = Twin(
                f"{name} has as many rows and the same columns.",
                f"{name} a autant de lignes et les mêmes colonnes.",
                sure=False,
            )
    return sorted(found.values(), key=lambda twin: not twin.sure)


def _alike(ledger: Ledger, files: Iterable[FileFacts]) -> Mapping[str, str]:
    """Return the published releases (name -> dataset) with as many rows as a table of `files` and its columns."""
    tables = [
        (part.rows, names)
        for file in files
        for part in file.parts
        if part.rows and len(names := set(map(_column, part.columns))) >= _FEW_COLUMNS
    ]
    found: dict[str, str] = {}
    if not tables:
        return found
    for release in ledger.releases.published():
        summary = release.summary
        own = {_column(column.name) for column in summary.columns}
        for rows, names in tables:
            if rows == summary.rows and len(names & own) >= _ALIKE * len(names):
                found[release.name] = release.dataset
    return found


def _column(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def as_row(record: SubmissionRecord) -> dict[str, Any]:
    """Return the outcome of an assessment in words, for the UI and the log."""
    criteria = (record.assessment or {}).get("criteria", [])
    return {
        "submission": record.id,
        "title": record.submission.title,
        "state": record.state.value,
        **{each["criterion"]: f"{each['verdict'].upper()}: {each['sentence']}" for each in criteria},
    }
