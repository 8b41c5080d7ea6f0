"""Decisions on submissions: submit, assign, accept, decline, ask for changes.

The ledger records who decided, when and why, and lets each submission be decided once. Judging the criteria belongs to
`assessment`, telling the submitter to `notices`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from d4c_pipeline.appraisal.delivered import refuse_inner
from d4c_pipeline.appraisal.policy import Alternatives, Policy
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.submission import Submission, SubmissionRecord, SubmissionState

FAILURE = "failure"


def submit(
    ledger: Ledger, policy: Policy, submission: Submission, *, sent_as: str | None = None
) -> tuple[SubmissionRecord, bool]:
    """Record a submission; return it and whether it is new.

    Raises PermanentError when the terms agreed to are not those of the policy, or a source address is private.
    """
    refuse_inner(submission.sources)
    if submission.terms != policy.version:
        raise PermanentError(
            f"The terms of version '{submission.terms}' were agreed to, and '{policy.version}' apply: "
            f"{policy.terms.en if submission.language == 'en' else policy.terms.fr}",
            f"Read these terms, and send terms: '{policy.version}' if you agree",
        )
    return ledger.submissions.add(submission, sent_as=sent_as)


def resubmit(
    ledger: Ledger, policy: Policy, number: int, submission: Submission, *, revision: int | None = None
) -> SubmissionRecord:
    """Replace the content of a submission. Raises PermanentError as `submit`, or when no changes were asked for."""
    refuse_inner(submission.sources)
    if submission.terms != policy.version:
        raise PermanentError("The terms changed", f"Read them, and send terms: '{policy.version}' if you agree")
    return ledger.submissions.revise(number, submission, who=submission.submitter.name, revision=revision)


def assign(ledger: Ledger, number: int, specialist: str, *, who: str) -> SubmissionRecord:
    """Assign a specialist. Raises PermanentError when a name is empty or the submission is finished."""
    _refuse_unnamed(who)
    if not specialist.strip():
        raise PermanentError("No specialist is named", "Name the person who drafts the metadata")
    return ledger.submissions.assign(number, specialist.strip(), who=who)


def accept(ledger: Ledger, number: int, *, who: str, reason: str = "", revision: int | None = None) -> SubmissionRecord:
    """Accept a submission; its metadata are drafted next.

    Raises PermanentError when `who` is empty, a criterion failed and `reason` is empty, or the submission is not in
    appraisal.
    """
    _refuse_unnamed(who)
    failed = failed_criteria(ledger.submissions.get(number).assessment)
    if failed and not reason.strip():
        raise PermanentError(
            f"Submission {number} fails the criteria {', '.join(failed)}, so its acceptance needs a reason",
            "State why it is accepted anyway",
        )
    return ledger.submissions.move(number, SubmissionState.ACCEPTED, who=who, reason=reason.strip(), revision=revision)


def decline(
    ledger: Ledger,
    alternatives: Alternatives,
    number: int,
    *,
    who: str,
    reason: str,
    named: Collection[str] | None = None,
    revision: int | None = None,
) -> SubmissionRecord:
    """Decline a submission, with the reason and other repositories.

    `named`: ids of these repositories; by default those that suit the failed criteria. Raises PermanentError when `who`
    or `reason` is empty, or the submission is not in appraisal (one that needs changes can be declined only under the
    `revision` that the manager saw), UnknownNameError for an unknown repository.
    """
    _refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("A refusal needs a reason", "State with --reason why the data are not taken in")
    current = ledger.submissions.get(number)
    if current.state is SubmissionState.NEEDS_CHANGES and revision is None:
        raise PermanentError(
            f"Submission {number} waits for changes by its submitter",
            f"To decline it nevertheless, add --revision {current.revision}",
        )
    failed = failed_criteria(current.assessment)
    chosen = alternatives.named(named) if named is not None else alternatives.suiting(failed)
    return ledger.submissions.move(
        number,
        SubmissionState.DECLINED,
        who=who,
        reason=reason.strip(),
        revision=revision,
        detail={"criteria": failed, "alternatives": [each.id for each in chosen]},
    )


def ask_changes(ledger: Ledger, number: int, *, who: str, reason: str, revision: int | None = None) -> SubmissionRecord:
    """Ask the submitter for changes. Raises PermanentError when `who` or `reason` is empty, or as `accept`."""
    _refuse_unnamed(who)
    if not reason.strip():
        raise PermanentError("Nothing is asked for", "State with --reason what the submitter has to change")
    return ledger.submissions.move(
        number, SubmissionState.NEEDS_CHANGES, who=who, reason=reason.strip(), revision=revision
    )


def drafted(ledger: Ledger, number: int, dataset: str, *, who: str) -> SubmissionRecord:
    """Record that the metadata of an accepted submission are drafted, as the definition of `dataset`.

    A dataset that was ready is drafted again when its definition has to change. Raises PermanentError when `who` or
    `dataset` is empty, or the submission is neither accepted nor ready.
    """
    _refuse_unnamed(who)
    if not dataset.strip():
        raise PermanentError("No dataset is named", "Name the id of the drafted definition")
    return ledger.submissions.move(number, SubmissionState.DRAFTED, who=who, dataset=dataset.strip())


def ready(ledger: Ledger, number: int, *, who: str) -> SubmissionRecord:
    """Record that a drafted dataset is complete and may be published. Errors as of `drafted`."""
    _refuse_unnamed(who)
    return ledger.submissions.move(number, SubmissionState.READY, who=who)


def note_published(ledger: Ledger) -> tuple[SubmissionRecord, ...]:
    """Move each ready submission whose dataset has a published release to `published`, with its DOI."""
    moved: list[SubmissionRecord] = []
    for line in ledger.submissions.lines([SubmissionState.READY]):
        releases = ledger.releases.published(line.dataset) if line.dataset else ()
        if not releases:
            continue
        dois = [deposit.doi for each in releases if (deposit := ledger.deposits.of(each)) is not None and deposit.doi]
        doi = dois[-1] if dois else None
        published = SubmissionState.PUBLISHED
        detail = {"doi": doi} if doi else {}
        moved.append(ledger.submissions.move(line.id, published, who="d4c", doi=doi, detail=detail))
    return tuple(moved)


def failed_criteria(assessment: Mapping[str, Any] | None) -> list[str]:
    """Return the names of the criteria that failed in an assessment."""
    criteria = (assessment or {}).get("criteria", [])
    return [each["criterion"] for each in criteria if each["verdict"] == FAILURE]


def _refuse_unnamed(who: str) -> None:
    if not who.strip():
        raise PermanentError("Nobody is named", "Name the person who decides")
