"""`d4c demo` and `d4c publish`: one vintage, or one member of a family, from its source to the catalogue."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, err, out, print_facts, print_json, read_settings
from d4c_pipeline.model.errors import PermanentError

if TYPE_CHECKING:
    from d4c_pipeline.model.family import Family
    from d4c_pipeline.model.settings import Settings


def demo(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Publish two real datasets, without account or server."""
    from d4c_pipeline.commands.demo import DATASETS, prepare, serve

    settings = read_settings(home, None, debug)
    folder = settings.home / "demo"
    prepare(folder)
    with serve(folder) as origins:
        # The definitions have the real addresses; the real HTTP source fetches the local files behind them.
        served = settings.model_copy(update={"origins": {**settings.origins, **origins}})
        published = _publish_all(served, [(dataset, None) for dataset in DATASETS], as_json=as_json, debug=debug)
    if as_json:
        print_json(published)
        return
    _print_outcome(published)
    _print_further(settings)


def publish(
    dataset: Annotated[str, typer.Argument(help="Id of a dataset, as 'd4c datasets' lists it.")],
    vintage: Annotated[str | None, typer.Option("--vintage", help="Vintage; by default the newest.")] = None,
    member: Annotated[str | None, typer.Option("--member", help="Key of the member of a family.")] = None,
    bump: Annotated[str, typer.Option("--bump", help="Smallest bump: patch, minor or major.")] = "none",
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Publish a vintage of a dataset, or a member of a family."""
    settings = read_settings(home, defs, debug)
    from d4c_pipeline.workspace.datasets import load_families

    if dataset in (families := load_families(settings.definitions)):
        if member is None or vintage is not None:
            raise PermanentError(
                f"{dataset} is a family", "Name a member with --member; its current vintage is published"
            )
        published = [_publish_member(settings, families[dataset], member, as_json=as_json, debug=debug, bump=bump)]
    elif member is not None:
        raise PermanentError(f"{dataset} is not a family", "Omit --member")
    else:
        published = _publish_all(settings, [(dataset, vintage)], as_json=as_json, debug=debug, bump=bump)
    if as_json:
        print_json(published[0])
    else:
        _print_outcome(published)


def _publish_all(
    settings: Settings, wanted: list[tuple[str, str | None]], *, as_json: bool, debug: bool, bump: str = "none"
) -> list[dict[str, Any]]:
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.orchestration.publishing import publish_vintage
    from d4c_pipeline.workspace.datasets import load_datasets, pick

    _require_bump(bump)
    known = load_datasets(settings.definitions)
    chosen = [(pick(known, dataset), vintage) for dataset, vintage in wanted]
    published: list[dict[str, Any]] = []
    for dataset, vintage in chosen:
        with showing(err, quiet=as_json or debug):
            published.append(
                publish_vintage(settings, dataset, vintage, list(known.values()), at_least=bump.upper(), debug=debug)
            )
    return published


def _publish_member(
    settings: Settings, family: Family, member: str, *, as_json: bool, debug: bool, bump: str
) -> dict[str, Any]:
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.orchestration.publishing import publish_member
    from d4c_pipeline.workspace.datasets import load_datasets

    _require_bump(bump)
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
                "info hash": row["info_hash"] or f"one per file ({len(row['files'])} files)",
                "file": row["path"] or row["url"],
                "latest": row["latest_url"],
                "catalogue": row["catalogue"],
            }
        )
        for warning in row["warnings"]:
            out.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
        out.print()


def _print_further(settings: Settings) -> None:
    from d4c_pipeline.chain.portal import site_facts
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_catalogue

    with Deployment.open(settings, archive=False) as deployment:
        query = describe_catalogue(deployment)["query"]
        site = site_facts(deployment).url
    tool = Path(sys.argv[0])
    tool = tool.relative_to(Path.cwd()) if tool.is_absolute() and tool.is_relative_to(Path.cwd()) else tool
    # The printed commands work when pasted, also with another home than the default.
    elsewhere = f" --home {shlex.quote(str(settings.home))}" if settings.home != Path(".d4c").absolute() else ""
    ui = f"{tool} ui{elsewhere}" if elsewhere else "make ui"
    out.print("Next:", style="bold")
    print_facts({"progress": f"{tool} status{elsewhere}", "Dagster UI": ui, "query": query})
    out.print("Portal:", style="bold")
    print_facts({"serve it": f"{tool} serve{elsewhere}", "open": site})
