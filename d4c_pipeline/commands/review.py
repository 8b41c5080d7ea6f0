"""`d4c review`: list, approve and reject planned releases. `review.decisions` does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Who,
    end_by_interrupt,
    out,
    person,
    print_facts,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from d4c_pipeline.model.dataset import Dataset
    from d4c_pipeline.model.settings import Settings
    from d4c_pipeline.review.decisions import Pending
    from d4c_pipeline.workspace.deployment import Deployment

review_app = typer.Typer(no_args_is_help=True, help="Approve or reject planned releases.")

Name = Annotated[str, typer.Argument(help="Name of the release, as 'd4c review list' prints it.")]


@review_app.command("list")
def list_waiting(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List releases in review, with the reasons."""
    from d4c_pipeline.review.decisions import pending, waiting

    settings = read_settings(home, defs, debug)
    with _opened(settings, archive=False) as (deployment, known):
        rows = [_row(pending(deployment, known[release.dataset], release)) for release in waiting(deployment)]
    if as_json:
        print_json(rows)
    else:
        shown = [{**row, "reasons": "; ".join(row["reasons"])} for row in rows]
        print_table(shown, ("release", "change", "rows", "size", "doi", "reasons"))


@review_app.command()
def show(release: Name, home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show a planned release: checks, changes, earlier decisions."""
    from d4c_pipeline.review.decisions import pending, planned_release

    settings = read_settings(home, defs, debug)
    with _opened(settings, archive=False) as (deployment, known):
        planned = planned_release(deployment, release)
        row = _row(pending(deployment, known[planned.dataset], planned))
    if as_json:
        print_json(row)
        return
    print_facts({name: value for name, value in row.items() if not isinstance(value, list)})
    for name in ("reasons", "change_reasons"):
        out.print(name.replace("_", " "), style="bold")
        for line in row[name] or ["none"]:
            out.print(f"  {line}", markup=False)
    for name, columns in (
        ("checks", ("check", "verdict", "expected", "actual", "overridden")),
        ("reviews", ("decision", "who", "at", "reason")),
    ):
        if row[name]:
            out.print(name, style="bold")
            print_table(row[name], columns)


@review_app.command()
def changes(
    release: Name,
    to: Annotated[Path | None, typer.Option("--to", help="Write an HTML page with both maps into this file.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page to this machine alone, until Ctrl-C.")] = False,
    home: Home = None,
    defs: Defs = None,
    debug: Debug = False,
) -> None:
    """Show what a planned release changes: rows, columns, values, checks, maps."""
    from d4c_pipeline.files.disk import write_file
    from d4c_pipeline.review.changes import as_html, as_markdown, changes_of
    from d4c_pipeline.review.decisions import planned_release

    settings = read_settings(home, defs, debug)
    with _opened(settings, archive=False) as (deployment, known):
        planned = planned_release(deployment, release)
        found = changes_of(deployment, known[planned.dataset], planned)
    if to is not None:
        write_file(to.absolute(), as_html(found).encode())
        out.print(str(to.absolute()), markup=False)
    if serve:
        _serve(as_html(found))
    elif to is None:
        text = as_markdown(replace(found, maps=()))
        if out.is_terminal:
            from rich.markdown import Markdown

            out.print(Markdown(text))
        else:
            out.print(text, markup=False)


def _serve(page: str) -> None:
    """Serve a page at an address of this machine that nobody can guess, until interrupted."""
    from secrets import token_urlsafe
    from tempfile import TemporaryDirectory

    from d4c_pipeline.services.file_server import serve_forever

    name = token_urlsafe(16)
    with TemporaryDirectory(prefix="d4c-changes-") as folder:
        (Path(folder) / f"{name}.html").write_text(page, "utf-8")
        end_by_interrupt()
        serve_forever({"/": Path(folder)}, "127.0.0.1", 0, lambda url: out.print(f"{url}/{name}.html", markup=False))


@review_app.command()
def approve(
    release: Name,
    who: Who = None,
    reason: Annotated[str, typer.Option("--reason", help="Reason of the approval.")] = "",
    publish: Annotated[bool, typer.Option("--publish", help="Publish the release at once.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Approve a release; the next run publishes it."""
    from d4c_pipeline.review import decisions

    settings = read_settings(home, defs, debug)
    with _opened(settings) as (deployment, known):
        planned = decisions.planned_release(deployment, release)
        decisions.approve(deployment, planned, who=person(who), reason=reason)
    outcome: dict[str, Any] = {"release": release, "decision": "approved"}
    if publish:
        from d4c_pipeline.orchestration.publishing import publish_approved
        from d4c_pipeline.workspace.datasets import load_families

        families = list(load_families(settings.definitions).values())
        outcome |= publish_approved(settings, known[planned.dataset], planned.vintage, list(known.values()), families)
    _print_decision(outcome, as_json=as_json)


@review_app.command()
def reject(
    release: Name,
    reason: Annotated[str, typer.Option("--reason", help="Required change.")],
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Reject a release: delete its draft and abandon its plan."""
    from d4c_pipeline.review import decisions

    settings = read_settings(home, defs, debug)
    with _opened(settings) as (deployment, _):
        planned = decisions.planned_release(deployment, release)
        decisions.reject(deployment, planned, who=person(who), reason=reason)
    _print_decision({"release": release, "decision": "rejected"}, as_json=as_json)


@review_app.command()
def override(
    dataset: Annotated[str, typer.Argument(help="Id of the dataset.")],
    check: Annotated[str, typer.Option("--check", help="Failed check.")],
    reason: Annotated[str, typer.Option("--reason", help="Reason why the check may fail on this data.")],
    vintage: Annotated[str | None, typer.Option("--vintage", help="Vintage; by default the newest.")] = None,
    who: Who = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Override a failed check for the build in staging; the check applies again to other data."""
    from d4c_pipeline.orchestration.publishing import choose_vintage
    from d4c_pipeline.review import decisions
    from d4c_pipeline.workspace.datasets import pick

    settings = read_settings(home, defs, debug)
    with _opened(settings) as (deployment, known):
        chosen = pick(known, dataset)
        of = choose_vintage(settings, chosen, vintage)
        sha256 = decisions.override(deployment, chosen, of, check, who=person(who), reason=reason)
    _print_decision(
        {"dataset": dataset, "vintage": str(of), "check": check, "decision": "overridden", "sha256": sha256},
        as_json=as_json,
    )


@contextmanager
def _opened(settings: Settings, *, archive: bool = True) -> Iterator[tuple[Deployment, dict[str, Dataset]]]:
    """Yield the deployment and all datasets: as defined, else as last recorded in the ledger."""
    from d4c_pipeline.watch.families import known_datasets
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    defined, families = load_datasets(settings.definitions), load_families(settings.definitions)
    with Deployment.open(settings, archive=archive) as deployment:
        yield deployment, known_datasets(deployment, defined, families.values())


def _row(found: Pending) -> dict[str, Any]:
    """Return a planned release under stable keys."""
    release, deposit, previous = found.release, found.deposit, found.previous
    overridden = {each.check: f"{each.who}: {each.reason}" for each in found.overrides}
    return {
        "release": release.name,
        "dataset": release.dataset,
        "vintage": str(release.vintage),
        "version": str(release.version),
        "state": deposit.state.value if deposit else release.state.value,
        "doi": deposit.doi if deposit else None,
        "draft": deposit.url if deposit else None,
        "files": str(found.folder) if found.folder else None,
        "change": release.change.bump.name.lower(),
        "rows": release.summary.rows,
        "size": release.data_size,
        "sha256": release.data_sha256,
        "previous": previous.name if previous else None,
        "previous_rows": previous.summary.rows if previous else None,
        "previous_size": previous.data_size if previous else None,
        "reasons": list(found.reasons),
        "change_reasons": list(release.change.reasons),
        "checks": [
            {
                "check": result.check,
                "verdict": result.verdict,
                "expected": result.detail.get("expected"),
                "actual": result.detail.get("actual"),
                "overridden": overridden.get(result.check),
            }
            for result in found.checks
        ],
        "reviews": [
            {
                "decision": each.decision,
                "who": each.who,
                "at": each.at.isoformat(timespec="seconds"),
                "reason": each.reason,
            }
            for each in found.reviews
        ],
    }


def _print_decision(outcome: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
    else:
        shown = ("release", "dataset", "vintage", "check", "decision", "outcome", "doi", "concept_doi", "latest_url")
        print_facts({name: outcome[name] for name in shown if name in outcome})
