"""`d4c submit` and `d4c submissions`: what comes in, and a manager's decisions. `appraisal` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Home,
    Who,
    open_ledger,
    out,
    person,
    print_facts,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from d4c_pipeline.model.submission import SubmissionRecord

submissions_app = typer.Typer(no_args_is_help=True, help="List submissions and decide on them.")

Number = Annotated[int, typer.Argument(help="Number of the submission, as 'd4c submissions list' prints it.")]
Revision = Annotated[
    int | None, typer.Option("--revision", help="Decide only if the submission still has this revision ('show').")
]
_COLUMNS = ("id", "state", "title", "submitter", "assigned_to", "dataset", "submitted_at")


def submit(
    file: Annotated[Path, typer.Argument(help="YAML of the submission, see docs/appraisal.md.")],
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Submit a dataset for appraisal. The same file submitted again adds nothing."""
    from d4c_pipeline.appraisal.decisions import submit as record_submission
    from d4c_pipeline.appraisal.policy import policy_of, read_yaml
    from d4c_pipeline.model.appraisal_settings import AppraisalSettings
    from d4c_pipeline.model.submission import Submission

    with open_ledger(home, debug) as (ledger, _):
        submission = read_yaml(file, Submission)
        policy = policy_of(AppraisalSettings.from_environment())
        record, is_new = record_submission(ledger, policy, submission)
    _print_decision(record, as_json=as_json, repeated=not is_new)


@submissions_app.command("list")
def list_submissions(
    state: Annotated[list[str] | None, typer.Option("--state", help="Only this state, repeatable.")] = None,
    assigned_to: Annotated[str | None, typer.Option("--assigned-to", help="Only of this specialist.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List submissions, the newest first."""
    from d4c_pipeline.model.errors import UnknownNameError
    from d4c_pipeline.model.submission import SubmissionState

    known = [each.value for each in SubmissionState]
    if unknown := [name for name in state or () if name not in known]:
        raise UnknownNameError(f"'{unknown[0]}' is no state", f"Use some of {', '.join(known)}")
    with open_ledger(home, debug) as (ledger, _):
        lines = ledger.submissions.lines([SubmissionState(name) for name in state or ()], assigned_to)
    rows = [{name: _text(getattr(each, name)) for name in (*_COLUMNS, "updated_at")} for each in lines]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, _COLUMNS)


@submissions_app.command()
def show(number: Number, home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show a submission: content, assessment, events."""
    with open_ledger(home, debug) as (ledger, _):
        record = ledger.submissions.get(number)
        events = ledger.submissions.events(number)
    assessment = dict(record.assessment or {})
    row = {
        **_facts(record),
        "content": record.submission.model_dump(mode="json", exclude_none=True),
        "assessment": assessment,
        "events": [
            {"at": _text(each.at), "state": each.state.value, "who": each.who, "reason": each.reason, **each.detail}
            for each in events
        ],
    }
    if as_json:
        print_json(row)
        return
    print_facts({name: value for name, value in row.items() if not isinstance(value, dict | list)})
    submitter = row["content"].pop("submitter")
    print_facts({**{f"submitter {name}": value for name, value in submitter.items()}, **row["content"]})
    if criteria := assessment.get("criteria"):
        out.print("assessment", style="bold")
        print_table(criteria, ("criterion", "verdict", "sentence"))
    for source in assessment.get("history") or ():
        out.print(f"{source['address']}: {source['sentence']}", markup=False)
        if source["versions"]:
            print_table(source["versions"], ("at", "what", "size", "change"))
    out.print("events", style="bold")
    print_table(row["events"], ("at", "state", "who", "reason"))


@submissions_app.command()
def assess(
    number: Annotated[int | None, typer.Argument(help="Number of the submission; by default all that wait.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Assess submissions by the appraisal policy, as the sensor of the UI does."""
    from d4c_pipeline.appraisal.assessment import as_row
    from d4c_pipeline.appraisal.assessment import assess as assess_submission

    with open_ledger(home, debug) as (ledger, settings):
        due = ledger.submissions.to_assess() if number is None else (number,)
        rows = [as_row(assess_submission(ledger, settings, each)) for each in due]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print_facts(row)


@submissions_app.command()
def assign(
    number: Number,
    specialist: Annotated[str, typer.Argument(help="The person who drafts the metadata.")],
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Assign a specialist."""
    from d4c_pipeline.appraisal import decisions

    with open_ledger(home, debug) as (ledger, _):
        record = decisions.assign(ledger, number, specialist, who=person(who))
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def accept(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Required when a criterion failed.")] = "",
    revision: Revision = None,
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Accept a submission; its metadata are drafted next."""
    from d4c_pipeline.appraisal import decisions

    with open_ledger(home, debug) as (ledger, _):
        record = decisions.accept(ledger, number, who=person(who), reason=reason, revision=revision)
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def decline(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why the data are not taken in; the submitter reads it.")],
    alternative: Annotated[
        list[str] | None,
        typer.Option("--alternative", help="Id of another repository, repeatable; by default those that suit."),
    ] = None,
    revision: Revision = None,
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Decline a submission, with other repositories for its data."""
    from d4c_pipeline.appraisal import decisions
    from d4c_pipeline.appraisal.policy import alternatives_of
    from d4c_pipeline.model.appraisal_settings import AppraisalSettings

    with open_ledger(home, debug) as (ledger, _):
        known = alternatives_of(AppraisalSettings.from_environment())
        record = decisions.decline(
            ledger, known, number, who=person(who), reason=reason, named=alternative, revision=revision
        )
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def changes(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="What the submitter has to change.")],
    revision: Revision = None,
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the submitter for changes."""
    from d4c_pipeline.appraisal import decisions

    with open_ledger(home, debug) as (ledger, _):
        record = decisions.ask_changes(ledger, number, who=person(who), reason=reason, revision=revision)
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def draft(number: Number, home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Draft the definition of an accepted submission, as the sensor of the UI does."""
    from d4c_pipeline.appraisal.drafts import draft_submission

    with open_ledger(home, debug) as (ledger, settings):
        record, file = draft_submission(ledger, settings, number)
    _print_decision(record, as_json=as_json, definition=str(file))


@submissions_app.command()
def drafted(
    number: Number,
    dataset: Annotated[str, typer.Argument(help="Id of the drafted dataset.")],
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Record that the metadata of an accepted submission are drafted."""
    from d4c_pipeline.appraisal import decisions

    with open_ledger(home, debug) as (ledger, _):
        record = decisions.drafted(ledger, number, dataset, who=person(who))
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def ready(number: Number, who: Who = None, home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Record that a drafted dataset may be published; its release makes the submission published."""
    from d4c_pipeline.appraisal import decisions

    with open_ledger(home, debug) as (ledger, _):
        record = decisions.ready(ledger, number, who=person(who))
    _print_decision(record, as_json=as_json)


@submissions_app.command()
def tell(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Note published datasets and send submitters what changed, as the sensor of the UI does."""
    from d4c_pipeline.appraisal.notices import settle
    from d4c_pipeline.appraisal.notices import tell as send_notices

    with open_ledger(home, debug) as (ledger, settings):
        published = [record.id for record in settle(ledger, settings)]
        told = send_notices(ledger, settings)
    facts = {"published": published, "delivered": told.delivered, "failed": told.failed}
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def _facts(record: SubmissionRecord) -> dict[str, Any]:
    return {
        "submission": record.id,
        "state": record.state.value,
        "revision": record.revision,
        "title": record.submission.title,
        "files_complete": record.files_complete,
        "assigned_to": record.assigned_to,
        "dataset": record.dataset,
        "doi": record.doi,
        "submitted_at": _text(record.submitted_at),
        "updated_at": _text(record.updated_at),
    }


def _print_decision(record: SubmissionRecord, *, as_json: bool, **more: Any) -> None:
    facts = {**_facts(record), **more}
    if as_json:
        print_json(facts)
    else:
        print_facts({name: value for name, value in facts.items() if value is not None})


def _text(value: object) -> Any:
    from datetime import datetime

    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
