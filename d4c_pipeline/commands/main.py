"""`d4c`: the command line. Here belongs what is asked for and how it is printed; the work is done by the chain.

Exit codes: 0 only when what was asked is done, 1 for an error told in one sentence with its remedy, 2 for a wrong call.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from d4c_pipeline.commands.archive import archive_app
from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    end_by_interrupt,
    end_with,
    err,
    out,
    print_facts,
    print_json,
    print_table,
    read_settings,
)
from d4c_pipeline.commands.fixity import repair, verify
from d4c_pipeline.commands.retention import prune
from d4c_pipeline.commands.review import review_app
from d4c_pipeline.commands.seed import keys, seed, torrents_app
from d4c_pipeline.model.errors import D4CError, PermanentError, shortage
from d4c_pipeline.model.secrets import sanitise
from d4c_pipeline.model.settings import Settings, has_archive_token

if TYPE_CHECKING:
    from d4c_pipeline.model.family import Family

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Publishes open data: versioned, citable, kept in several places.",
)
app.add_typer(review_app, name="review")
app.add_typer(archive_app, name="archive")
app.add_typer(torrents_app, name="torrents")
app.command()(seed)
app.command()(keys)
app.command()(prune)
app.command()(verify)
app.command()(repair)


def main() -> None:
    """Run the command line; an error becomes one sentence on stderr and exit code 1."""
    try:
        app()
    except D4CError as error:
        end_with(error, error.sentence("run 'd4c publish' for that vintage again"))
    except Exception as error:  # noqa: BLE001 - the process ends here: a bug is told as one, with its way to a traceback
        from d4c_pipeline.ledger import database

        if (told := database.explained(error) or shortage(error)) is not None:
            end_with(error, f"{told}")
        said = f"{type(error).__name__}: {error}".rstrip(".")
        end_with(error, f"A bug stopped this ({said}). Run it again with --debug for the traceback, and report it.")


@app.command()
def demo(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Publish two real datasets on the embedded default, without account or server."""
    from d4c_pipeline.commands.demo import DATASETS, prepare, serve

    settings = read_settings(home, None, debug)
    folder = settings.home / "demo"
    prepare(folder)
    with serve(folder) as origins:
        # The real addresses stand in the definitions; the real HTTP source finds the local files behind them.
        os.environ["D4C_ORIGIN_MAP"] = ",".join(f"{old}={new}" for old, new in {**settings.origins, **origins}.items())
        published = _publish_all([(dataset, None) for dataset in DATASETS], as_json=as_json, debug=debug)
    if as_json:
        print_json(published)
        return
    _print_outcome(published)
    _print_further(Settings.from_environment())


@app.command()
def publish(
    dataset: Annotated[str, typer.Argument(help="Id of a dataset, as 'd4c datasets' lists it.")],
    vintage: Annotated[str | None, typer.Option("--vintage", help="The vintage; by default the newest one.")] = None,
    member: Annotated[str | None, typer.Option("--member", help="Of a family, the key of the member.")] = None,
    bump: Annotated[str, typer.Option("--bump", help="Smallest bump: patch, minor or major.")] = "none",
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take a vintage of a dataset, or a member of a family, all the way from its source to the catalogue."""
    settings = read_settings(home, defs, debug)
    from d4c_pipeline.workspace.datasets import load_families

    if dataset in (families := load_families(settings.definitions)):
        if member is None or vintage is not None:
            raise PermanentError(f"{dataset} is a family", "Name a member with --member; it is published as it is now")
        published = [_publish_one(families[dataset], member, as_json=as_json, debug=debug, bump=bump)]
    elif member is not None:
        raise PermanentError(f"{dataset} is no family", "Leave --member out")
    else:
        published = _publish_all([(dataset, vintage)], as_json=as_json, debug=debug, bump=bump)
    if as_json:
        print_json(published[0])
    else:
        _print_outcome(published)


@app.command()
def datasets(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the datasets that are defined, and check them against each other."""
    from d4c_pipeline.workspace.datasets import load_datasets, load_definitions, load_families
    from d4c_pipeline.workspace.shared_names import shared_names

    settings = read_settings(home, defs, debug)
    rows = [
        {
            "dataset": one.id,
            "title": one.title.en,
            "titre": one.title.fr,
            "series": one.series,
            "vintages": one.vintages if one.vintages == "discovered" else list(one.vintages),
            "license": one.licence_words,
            "folder": str(one.folder),
        }
        for one in load_datasets(settings.definitions).values()
    ] + [
        {
            "dataset": family.id,
            "title": family.title.en,
            "titre": family.title.fr,
            "series": family.sample.series,
            "vintages": "members",
            "license": family.sample.licence_words,
            "folder": str(family.folder),
        }
        for family in load_families(settings.definitions).values()
    ]
    if as_json:
        print_json(rows)
    else:
        shown = [
            {**row, "vintages": row["vintages"] if isinstance(row["vintages"], str) else ", ".join(row["vintages"])}
            for row in rows
        ]
        print_table(shown, ("dataset", "title", "vintages", "license"))
    definitions = load_definitions(settings.definitions)
    for shared in shared_names(definitions.values()):
        raise shared.error(definitions)


@app.command()
def notice(
    dataset: Annotated[list[str] | None, typer.Argument(help="Only these datasets or families.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Believe a listing that lost vintages or members.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Ask the sources now which vintages and members there are and what changed. Nothing is retained or published."""
    from d4c_pipeline.watch.noticing_report import ask_now
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, unknown_id
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    known = {**load_datasets(settings.definitions), **load_families(settings.definitions)}
    for name in dataset or ():
        if name not in known:
            raise unknown_id(known, name)
    with Deployment.open(settings) as deployment:
        rows = [ask_now(deployment, known[name], accept=accept) for name in dataset or known]
    if as_json:
        print_json(rows)
    else:
        shown = [
            {**row, "due": ", ".join(row["due"]), "failed": row["failed"] or "", "remark": row.get("remark", "")}
            for row in rows
        ]
        print_table(shown, ("dataset", "listed", "due", "failed", "remark"))
    if any(row["failed"] for row in rows):
        raise typer.Exit(1)


@app.command()
def failed(
    dataset: Annotated[str | None, typer.Argument(help="Only of this dataset or family.")] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List what stays failed, with its cause and the command that recovers it."""
    from d4c_pipeline.watch.failures import describe_failures
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, unknown_id
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    known = [*load_datasets(settings.definitions), *load_families(settings.definitions)]
    if dataset is not None and dataset not in known:
        raise unknown_id(known, dataset)
    with Deployment.open(settings) as deployment:
        rows = describe_failures(deployment, known if dataset is None else [dataset])
    if as_json:
        print_json(rows)
        return
    for row in rows:
        out.print(f"[bold]{row['dataset']} {row['partition']}[/bold] failed at '{row['step']}'", style="red")
        print_facts(
            {
                "since": f"{row['since']}, {row['times']} time(s), last {row['last']}",
                "cause": row["cause"],
                "remedy": row["remedy"],
                "then": row["command"],
            }
        )
    out.print(f"{len(rows)} stay failed" if rows else "Nothing stays failed")


@app.command()
def status(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show how far every vintage of every dataset is."""
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_vintages

    settings = read_settings(home, defs, debug)
    known = load_datasets(settings.definitions)
    with Deployment.open(settings, archive=False) as deployment:
        _print_releases(describe_vintages(deployment, known.values()), as_json=as_json)


@app.command()
def releases(
    dataset: Annotated[str | None, typer.Argument(help="Only of this dataset.")] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List all releases, planned and published."""
    from d4c_pipeline.workspace.datasets import load_datasets, pick
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_release

    settings = read_settings(home, defs, debug)
    with Deployment.open(settings, archive=False) as deployment:
        found = deployment.ledger.releases.living(dataset)
        if not found and dataset is not None:
            pick(load_datasets(settings.definitions), dataset)
        _print_releases([describe_release(deployment, release) for release in found], as_json=as_json)


@app.command()
def catalogue(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show where the catalogue lies, what it holds and how to ask it."""
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_catalogue

    settings = read_settings(home, None, debug)
    with Deployment.open(settings, archive=False) as deployment:
        found = describe_catalogue(deployment)
    if as_json:
        print_json(found)
        return
    _print_releases(found["releases"], as_json=False)
    out.print()
    print_facts({"catalogue": found["path"], "address": found["url"], "ask it": found["query"]})


@app.command()
def settings(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List every setting with its value, default and description; secrets are masked."""
    from dataclasses import asdict

    from d4c_pipeline.model.limits import Limits
    from d4c_pipeline.model.seeding import SeedingSettings
    from d4c_pipeline.model.settings import ArchiveSecret
    from d4c_pipeline.model.settings_table import present
    from d4c_pipeline.model.ui_access import UiAccess

    deployment, seeding = read_settings(home, defs, debug), SeedingSettings.from_environment()
    if not as_json:
        groups = (deployment, ArchiveSecret.from_environment(), Limits.from_environment(), seeding)
        rows = [setting._asdict() for group in (*groups, UiAccess.from_environment()) for setting in present(group)]
        print_table(rows, ("variable", "value", "default", "unit", "description"))
        return
    values = {name: getattr(deployment, name) for name in Settings.model_fields}
    found = {
        name: sanitise(value) if isinstance(value, str) else value  # an address may hold a password
        for name, value in values.items()
    }
    found["stores"] = deployment.stores.model_dump(exclude_unset=True, mode="json")
    fetch = asdict(seeding.fetch) | {"datasets": sorted(seeding.fetch.datasets)}
    found["seeding"] = seeding.model_dump(exclude={"fetch_everything", "fetch_datasets", "fetch_budget"})
    found["seeding"]["fetch"] = fetch
    found["archive_token"] = has_archive_token()
    print_json(found)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on [D4C_PORT].")] = None,
    home: Home = None,
    debug: Debug = False,
) -> None:
    """Serve the store and the local archive over HTTP, with ranges, until interrupted."""
    from d4c_pipeline.services.embedded import mounts
    from d4c_pipeline.services.file_server import serve_forever

    settings = read_settings(home, None, debug)
    end_by_interrupt()
    serve_forever(
        mounts(settings), host, port or settings.port, lambda url: out.print(f"Serving {settings.home} at {url}")
    )


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
    home: Home = None,
    defs: Defs = None,
    debug: Debug = False,
) -> None:
    """Open the Dagster UI on this home and serve its files, until interrupted."""
    from d4c_pipeline.orchestration.instance import ui_command
    from d4c_pipeline.services.embedded import mounts
    from d4c_pipeline.services.file_server import serving

    settings = read_settings(home, defs, debug)
    command, environment = ui_command(settings, port, read_only=read_only)
    end_by_interrupt()
    with serving(mounts(settings), port=settings.port) as url:
        out.print(f"UI     http://127.0.0.1:{port}\nfiles  {url}\nhome   {settings.home}")
        # A session of its own: Ctrl-C reaches us, and we tell Dagster once instead of each of its processes at once.
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            code = child.wait()
        except KeyboardInterrupt:
            code = _stop(child)
    raise typer.Exit(code)


def _stop(child: subprocess.Popen[bytes]) -> int:
    """End Dagster and all of its processes; whoever interrupts a second time does not want to wait."""
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt, ProcessLookupError):
        child.terminate()
        child.wait(timeout=60)
        # A run that is under way keeps its code server alive. Interrupted, Dagster notes that it was; killed, it would
        # stand as running for ever.
        os.killpg(child.pid, signal.SIGTERM)
        for _ in range(300):
            time.sleep(0.1)
            os.killpg(child.pid, 0)  # raises as soon as none of them is left
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return 0


def _publish_all(
    wanted: list[tuple[str, str | None]], *, as_json: bool, debug: bool, bump: str = "none"
) -> list[dict[str, Any]]:
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.orchestration.publishing import publish_vintage
    from d4c_pipeline.workspace.datasets import load_datasets, pick

    _require_bump(bump)
    settings = Settings.from_environment()
    known = load_datasets(settings.definitions)
    chosen = [(pick(known, dataset), vintage) for dataset, vintage in wanted]
    published: list[dict[str, Any]] = []
    for dataset, vintage in chosen:
        with showing(err, quiet=as_json or debug):
            published.append(
                publish_vintage(settings, dataset, vintage, list(known.values()), at_least=bump.upper(), debug=debug)
            )
    return published


def _publish_one(family: Family, member: str, *, as_json: bool, debug: bool, bump: str) -> dict[str, Any]:
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.orchestration.publishing import publish_member
    from d4c_pipeline.workspace.datasets import load_datasets

    _require_bump(bump)
    settings = Settings.from_environment()
    declared = list(load_datasets(settings.definitions).values())
    with showing(err, quiet=as_json or debug):
        return publish_member(settings, family, member, declared, at_least=bump.upper(), debug=debug)


def _require_bump(bump: str) -> None:
    if bump not in ("none", "patch", "minor", "major"):
        raise PermanentError(f"'{bump}' is not a bump", "Write none, patch, minor or major")


def _print_outcome(published: list[dict[str, Any]]) -> None:
    for row in published:
        note = "  (a test DOI: it does not resolve)" if row["test_doi"] else ""
        out.print(f"[bold]{row['name']}[/bold]")
        print_facts(
            {
                "outcome": row["outcome"],
                "dataset": row["dataset"],
                "vintage": row["vintage"],
                "version": row["version"],
                "rows": f"{row['rows']:,}",
                "size": f"{row['size']:,} bytes",
                "sha256": row["sha256"],
                "DOI": f"{row['doi']}{note}",
                "concept DOI": row["concept_doi"],
                "info hash": row["info_hash"] or f"one for each of {len(row['files'])} files",
                "file": row["path"] or row["url"],
                "latest": row["latest_url"],
                "catalogue": row["catalogue"],
            }
        )
        for warning in row["warnings"]:
            out.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
        out.print()


def _print_further(settings: Settings) -> None:
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_catalogue

    with Deployment.open(settings, archive=False) as deployment:
        query = describe_catalogue(deployment)["query"]
    tool = Path(sys.argv[0])
    tool = tool.relative_to(Path.cwd()) if tool.is_absolute() and tool.is_relative_to(Path.cwd()) else tool
    # What is printed works when pasted, also where the home is not the one that would be taken without a word.
    elsewhere = f" --home {shlex.quote(str(settings.home))}" if settings.home != Path(".d4c").absolute() else ""
    ui = f"{tool} ui{elsewhere}" if elsewhere else "make ui"
    out.print("Look further:", style="bold")
    print_facts({"how far is what": f"{tool} status{elsewhere}", "the Dagster UI": ui, "the catalogue": query})


def _print_releases(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print_table(rows, ("dataset", "vintage", "version", "state", "rows", "size", "doi"))


if __name__ == "__main__":
    main()
