"""Drafts the definition of an accepted submission, with what the submitter stated where the source states nothing.

A lease lets one process draft a submission. A killed one leaves the state `accepted`, and the next call drafts again.
The definition lies in a folder of the submission until a specialist takes it over.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.appraisal.decisions import drafted
from d4c_pipeline.appraisal.delivered import fetched, refuse_inner, uploaded
from d4c_pipeline.appraisal.policy import policy_of
from d4c_pipeline.drafting import Draft, Field, draft
from d4c_pipeline.drafting.composing import slug
from d4c_pipeline.drafting.recognise import recognise
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import DataError, PermanentError
from d4c_pipeline.model.gaps import TO_FILL, TO_TRANSLATE, is_marked
from d4c_pipeline.model.licence_names import recognised
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.submission import SubmissionRecord, SubmissionState
from d4c_pipeline.workspace.datasets import load_definitions

WHO = "draft"


def drafts_folder(home: Path, number: int) -> Path:
    """Return the folder of definitions that holds the draft of a submission."""
    return home / "drafts" / f"submission-{number}"


def draft_submission(ledger: Ledger, settings: Settings, number: int) -> tuple[SubmissionRecord, Path]:
    """Draft the definition of an accepted submission; return the submission and the file `defs.yaml`.

    Data that can't be read leave a draft without facts of the data. Raises PermanentError for a submission that is not
    accepted, BusyError while another process drafts it, StorageError when the folder can't be written, and the errors
    of `drafting.draft` for its source.
    """
    with ledger.leases.hold(lease_keys.of_submission(number), wait=0):
        record = ledger.submissions.get(number)
        folder = drafts_folder(settings.home, number)
        if record.state is SubmissionState.DRAFTED and record.dataset is not None:
            return record, folder / record.dataset / "defs.yaml"
        if record.state is not SubmissionState.ACCEPTED:
            raise PermanentError(f"Submission {number} is {record.state}, not accepted", "Accept it, then draft it")
        made = _stated(_drafted(record, settings, number), record)
        made = _unused(made, number, load_definitions(settings.definitions))
        with storage_errors(f"write in {folder}"):
            # What a killed process left; nobody was told of it.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        file = made.write(folder)
        return drafted(ledger, number, made.id, who=WHO), file


def _drafted(record: SubmissionRecord, settings: Settings, number: int) -> Draft:
    sources = record.submission.sources
    own = uploaded(quarantine.submission_folder(settings.home, number) / "upload")
    if not sources and not own:
        raise PermanentError(f"The files of submission {number} are gone", "Draft from the data with 'd4c draft'")
    source: str | Path = sources[0] if sources else own[0] if len(own) == 1 else own[0].parent
    # The name of an upload is often that of a program's export.
    identifier = None if sources else slug(record.submission.title) or None
    refuse_inner(sources)
    work = quarantine.submission_folder(settings.home, number) / "draft"
    natives = None
    try:
        if isinstance(source, str) and recognise(source).kind == "http":
            # Fetched here, where every connection is checked, and not by the drafted source, whose address is declared.
            largest = policy_of(AppraisalSettings.from_environment()).criteria.size.largest
            (delivered,) = fetched([source], work, most=largest, origins=settings.origins)
            if delivered.path is None:
                raise DataError(f"{source} can't be fetched: {delivered.problem}", "Ask the submitter")
            natives = [delivered.path]
        public = isinstance(source, str) and natives is None
        try:
            return draft(source, settings, natives=natives, identifier=identifier, public_only=public)
        except DataError:
            return draft(source, settings, read=False, identifier=identifier, public_only=public)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stated(made: Draft, record: SubmissionRecord) -> Draft:
    """Fill the gaps of a draft with what the submitter stated."""
    submission = record.submission
    why = f"stated in submission {record.id}"
    other = "fr" if submission.language == "en" else "en"
    fields = dict(made.fields)

    def fill(path: str, value: str, evidence: str) -> None:
        if path in fields and isinstance(fields[path].value, str) and is_marked(fields[path].value):
            fields[path] = Field(value, evidence)

    for name, text in (("title", submission.title), ("description", submission.description)):
        fill(f"{name}.{submission.language}", text, why)
        if f"{name}.{other}" in fields and fields[f"{name}.{other}"].value == TO_FILL:
            fill(f"{name}.{other}", f"{TO_TRANSLATE}{text}", why)
    rights = policy_of(AppraisalSettings.from_environment()).criteria.rights
    known = recognised(submission.licence, aliases=rights.aliases)
    if known is not None:
        fill("license", known.id, f"{why}: {submission.licence}")
    return replace(made, fields=fields)


def _unused(made: Draft, number: int, defined: Collection[str]) -> Draft:
    return made if made.id not in defined else made.with_id(f"{made.id}_{number}")
