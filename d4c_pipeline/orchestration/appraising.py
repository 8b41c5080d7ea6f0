"""The asset `assessments` of submissions with its job and sensor, and the job `decide_submission` of managers.

`appraisal` does the work; the command line and the services call it without Dagster.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum

import dagster as dg
from pydantic import Field

from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.orchestration.reviewing import decider

ASSESSMENTS_KEY = dg.AssetKey(["assessments"])
ASSESSMENT_JOB, DECISION_JOB, DRAFT_JOB = "assess_submissions", "decide_submission", "draft_submission"
_SECONDS = 30


class Verdict(Enum):
    """The decisions on a submission."""

    accept = "accept"
    decline = "decline"
    changes = "changes"


class AssessmentConfig(dg.Config):
    """The submissions to assess; all that wait by default."""

    submissions: list[int] = Field(default=[], description="Numbers of submissions; empty for all that wait.")


class DecisionConfig(dg.Config):
    """The decision on a submission. The sign-in to the UI names the manager."""

    submission: int = Field(description="Number of the submission (see the asset 'assessments').")
    decision: Verdict = Field(description="accept, decline, or changes: ask the submitter for changes.")
    reason: str = Field(default="", description="Reason. Required unless an acceptance fails no criterion.")
    alternatives: list[str] = Field(default=[], description="Ids of other repositories; by default those that suit.")
    who: str = Field(
        default="", description="Person on whose behalf the signed-in user decides. Both names are recorded."
    )


def appraisal_definitions() -> dg.Definitions:
    """Return the asset of assessments, its job and sensor, and the job of decisions."""
    job = dg.define_asset_job(
        ASSESSMENT_JOB,
        selection=dg.AssetSelection.assets(ASSESSMENTS_KEY),
        description="Assesses submissions by the appraisal policy.",
    )
    return dg.Definitions(
        assets=[assessments],
        jobs=[job, decision_job, draft_job],
        sensors=[submissions_are_assessed, accepted_are_drafted, tell_submitters],
    )


@dg.asset(
    key=ASSESSMENTS_KEY,
    description="Fetches and reads the files of submissions, and judges each by the criteria of the appraisal policy. "
    "A submission whose licence forbids publication, or beyond the quota, is declined by rule.",
    group_name="appraisal",
    pool="process",
)
def assessments(
    context: dg.AssetExecutionContext, config: AssessmentConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Assess the submissions of the configuration, or all that wait; another process's are left to it."""
    from d4c_pipeline.appraisal.assessment import as_row, assess  # noqa: PLC0415

    attempt = context.op_execution_context.retry_number + 1
    rows: list[dict[str, object]] = []
    with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
        for number in config.submissions or opened.ledger.submissions.to_assess():
            try:
                rows.append(as_row(assess(opened.ledger, opened.settings, number)))
            except BusyError as error:
                context.log.info("%s", error)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = markdown_table(columns, [[_cell(row.get(name, "")) for name in columns] for row in rows])
    return dg.MaterializeResult(
        metadata={"count": len(rows), "table": dg.MetadataValue.md("\n".join(table) if rows else "None waited.")}
    )


def _cell(value: object) -> str:
    # Titles and file names are a stranger's: neither markup nor a link may come out of them.
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]()#!|~" else letter for letter in text)


@dg.op(name="decide_on_submission", description="Records the decision, once; the submitter is told.")
def _decide(context: dg.OpExecutionContext, config: DecisionConfig, deployment: DeploymentResource) -> None:
    from d4c_pipeline.appraisal import decisions  # noqa: PLC0415
    from d4c_pipeline.appraisal.policy import alternatives_of  # noqa: PLC0415

    with (
        as_dagster_failure(retries=deployment.retries, attempt=context.retry_number + 1),
        deployment.opened() as opened,
    ):
        who, number, ledger = decider(context.run, config.who), config.submission, opened.ledger
        match config.decision:
            case Verdict.accept:
                record = decisions.accept(ledger, number, who=who, reason=config.reason)
            case Verdict.changes:
                record = decisions.ask_changes(ledger, number, who=who, reason=config.reason)
            case Verdict.decline:
                known = alternatives_of(AppraisalSettings.from_environment())
                named = config.alternatives or None
                record = decisions.decline(ledger, known, number, who=who, reason=config.reason, named=named)
        context.log.info("Submission %s is %s", number, record.state)


@dg.job(name=DECISION_JOB, description="Accepts or declines a submission, or asks its submitter for changes.")
def decision_job() -> None:
    """One decision a run."""
    _decide()


class DraftConfig(dg.Config):
    """The submission to draft."""

    submission: int = Field(description="Number of an accepted submission.")


@dg.op(name="draft_of_submission", description="Drafts the definition from the source and from what was submitted.")
def _draft(context: dg.OpExecutionContext, config: DraftConfig, deployment: DeploymentResource) -> None:
    from d4c_pipeline.appraisal.drafts import draft_submission  # noqa: PLC0415

    with (
        as_dagster_failure(retries=deployment.retries, attempt=context.retry_number + 1),
        deployment.opened() as opened,
    ):
        record, file = draft_submission(opened.ledger, opened.settings, config.submission)
        context.log.info("Submission %s is drafted as %s: %s", record.id, record.dataset, file)


@dg.job(name=DRAFT_JOB, description="Drafts the definition of an accepted submission, for a specialist to complete.")
def draft_job() -> None:
    """One submission a run."""
    _draft()


@dg.sensor(
    name="accepted_are_drafted",
    job_name=draft_job.name,
    minimum_interval_seconds=_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run that drafts each accepted submission; again the next day after a run that failed.",
)
def accepted_are_drafted(deployment: DeploymentResource) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield a run for each accepted submission."""
    with deployment.opened() as opened:
        accepted = opened.ledger.submissions.lines([SubmissionState.ACCEPTED])
    if not accepted:
        yield dg.SkipReason("No accepted submission waits for its draft")
    for line in accepted:
        yield dg.RunRequest(
            run_key=f"{line.id}-{datetime.now(UTC):%Y-%m-%d}",
            run_config=dg.RunConfig(ops={"draft_of_submission": DraftConfig(submission=line.id)}),
        )


@dg.sensor(
    name="submitters_are_told",
    minimum_interval_seconds=_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Moves ready submissions whose dataset has a release to 'published', and tells submitters of every "
    "change by the mail server in D4C_SUBMISSIONS_MAIL and by their webhooks.",
)
def tell_submitters(deployment: DeploymentResource) -> dg.SkipReason:
    """Note published datasets, then send what is due."""
    from d4c_pipeline.appraisal.notices import settle, tell  # noqa: PLC0415

    with deployment.opened() as opened:
        published = settle(opened.ledger, opened.settings)
        try:
            told = tell(opened.ledger, opened.settings)
        except BusyError as error:
            return dg.SkipReason(str(error))
    return dg.SkipReason(f"{len(published)} published, {told.delivered} notices sent, {told.failed} failed")


@dg.sensor(
    name="submissions_are_assessed",
    # Dagster builds a sensor of a job object again, and warns that the owners it was never given are beta.
    job_name=ASSESSMENT_JOB,
    minimum_interval_seconds=_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run for each submission whose files are complete; again each hour after a run that died.",
)
def submissions_are_assessed(deployment: DeploymentResource) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield a run for each submission whose files are complete."""
    with deployment.opened() as opened:
        submissions = opened.ledger.submissions
        waiting = [submissions.get(number) for number in submissions.to_assess()]
    if not waiting:
        yield dg.SkipReason("No submission waits for its assessment")
    hour = f"{datetime.now(UTC):%Y-%m-%dT%H}"
    for record in waiting:
        yield dg.RunRequest(
            run_key=f"{record.id}-{record.state}-{record.revision}-{hour}",
            run_config=dg.RunConfig(
                ops={ASSESSMENTS_KEY.to_python_identifier(): AssessmentConfig(submissions=[record.id])}
            ),
        )
