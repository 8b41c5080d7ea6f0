"""`d4c catalogue`: the releases in the catalogue, SQL over it, the difference of two, exports, and its rebuild.

Only `rebuild` changes anything.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    err,
    out,
    print_facts,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from d4c_pipeline.catalogue.query import Answer
    from d4c_pipeline.workspace.deployment import Deployment

_LAKE = "ducklake"
_MOST_ROWS = 1_000  # of a table for people

catalogue_app = typer.Typer(invoke_without_command=True)


@catalogue_app.callback()
def catalogue(context: typer.Context, home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show the catalogue's releases and address, query it, compare it, export it."""
    from d4c_pipeline.workspace.deployment import Deployment
    from d4c_pipeline.workspace.reports import describe_catalogue

    if context.invoked_subcommand is not None:
        # Options before the name of the command are those of the command.
        context.default_map = {context.invoked_subcommand: {"home": home, "as_json": as_json, "debug": debug}}
        return
    settings = read_settings(home, None, debug)
    with Deployment.open(settings, archive=False) as deployment:
        found = describe_catalogue(deployment)
    if as_json:
        print_json(found)
        return
    print_table(found["releases"], ("dataset", "vintage", "version", "state", "rows", "size", "doi"))
    out.print()
    print_facts({"catalogue": found["path"], "address": found["url"], "query": found["query"]})


@catalogue_app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT of DuckDB over the view `releases`.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header; NULL is empty.")] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a SELECT over the catalogue, which reads no other file and no network.

    `DESCRIBE releases` lists the columns.
    """
    from d4c_pipeline.catalogue.query import answering
    from d4c_pipeline.chain.snapshot import CURRENT, catalogue_file

    if as_csv and as_json:
        raise typer.BadParameter("Choose --csv or --json")
    with _opened(home, debug) as (deployment, folder):
        path = Path(catalogue_file(deployment, CURRENT, folder))
        with answering(sql, path, memory_limit=deployment.settings.memory_limit) as answer:
            if as_json:
                _print_documents(answer)
            elif as_csv:
                _print_csv(answer)
            else:
                _print_rows(answer)


@catalogue_app.command()
def diff(
    before: Annotated[str, typer.Argument(help="`current`, `previous`, a snapshot's digits, a path or an address.")],
    after: Annotated[str, typer.Argument(help="The same for the later catalogue.")] = "current",
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two catalogues or snapshots: releases added, removed, and columns that changed."""
    from d4c_pipeline.catalogue.difference import difference
    from d4c_pipeline.chain.snapshot import catalogue_file

    with _opened(home, debug) as (deployment, folder):
        old, new = (catalogue_file(deployment, name, folder) for name in (before, after))
        found = difference(old, new, memory_limit=deployment.settings.memory_limit)
    names = ("dataset", "vintage", "version")
    if as_json:
        listed = {
            change: [{name: getattr(release, name) for name in names} for release in found.of(change)]
            for change in ("added", "removed")
        }
        changed = [
            {name: getattr(release, name) for name in names}
            | {"columns": {name: {"before": old, "after": new} for name, (old, new) in release.columns.items()}}
            for release in found.of("changed")
        ]
        columns = {"columns_added": list(found.columns_added), "columns_removed": list(found.columns_removed)}
        print_json({**listed, "changed": changed, **columns})
        return
    rows = [
        {"change": release.change, **{name: getattr(release, name) for name in names}}
        | {"columns": ", ".join(release.columns) or None}
        for release in found.releases
    ]
    if rows:
        print_table(rows, ("change", *names, "columns"))
        out.print()
    facts = {change: len(found.of(change)) for change in ("added", "removed", "changed")}
    columns = {"columns added": found.columns_added, "columns removed": found.columns_removed}
    print_facts({**facts, **{name: ", ".join(listed) for name, listed in columns.items() if listed}})


@catalogue_app.command()
def export(
    form: Annotated[
        str, typer.Argument(metavar="FORMAT", help="A format of records such as `dcat`, `site`, or `ducklake`.")
    ],
    release: Annotated[str | None, typer.Argument(help="Name of a release: its record only.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder of the files; a file for one record (default: print it) and `ducklake`."),
    ] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the records of all releases or of one, the site documents, or the DuckLake of the released files."""
    from d4c_pipeline.chain.export import SITE, export_folder, export_lake, export_record
    from d4c_pipeline.files.disk import write_file
    from d4c_pipeline.metadata.records.registry import record_formats
    from d4c_pipeline.model.errors import PermanentError
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    known = (*record_formats(), SITE, _LAKE)
    if form not in known:
        raise typer.BadParameter(f"'{form}' is not one of {', '.join(known)}")
    if release is not None and form in (SITE, _LAKE):
        raise typer.BadParameter(f"'{form}' has all releases: leave out the release")
    if release is None and form != _LAKE and to is None:
        raise typer.BadParameter("Name the folder with --to, or a release to print its record")
    if release is None and form != _LAKE and to is not None and to.exists() and not to.is_dir():
        raise typer.BadParameter(f"{to} is not a folder")
    settings = read_settings(home, defs, debug)
    declared = tuple(load_datasets(settings.definitions).values())
    with Deployment.open(settings, archive=False) as deployment:
        if release is not None:
            content = export_record(deployment, form, release, declared)
            if to is None:
                sys.stdout.buffer.write(content)
            else:
                write_file(to, content)
            return
        if form == _LAKE:
            lake = export_lake(deployment, (to or Path("lake.ducklake")).absolute(), declared)
            if as_json:
                tables = {name: dict(found) for name, found in lake.tables.items()}
                print_json({"path": str(lake.path), "tables": tables})
                return
            print_facts({"lake": lake.path, "tables": len(lake.tables)})
            out.print(f"  ATTACH 'ducklake:{lake.path}' AS lake (READ_ONLY);", markup=False)
            return
        exported = export_folder(deployment, form, (to or Path()).absolute(), declared)
    failed = exported.failed
    facts = {"folder": str(exported.folder), "files": exported.files, "bytes": exported.bytes}
    if as_json:
        print_json({**facts, "failed": {name: str(error) for name, error in failed.items()}})
    else:
        print_facts(facts)
    if failed:
        name, error = next(iter(failed.items()))
        raise PermanentError(f"{len(failed)} releases have no record in {form}: {name}: {error.cause}", error.remedy)


@catalogue_app.command()
def rebuild(
    from_archive: Annotated[
        bool,
        typer.Option("--from-archive", help="First adopt every release that the archive has and the ledger lacks."),
    ] = False,
    only_missing: Annotated[
        bool, typer.Option("--missing", help="Put again only the files that a store lost, found by listing it.")
    ] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the complete catalogue again: from the ledger, or after a loss of ledger and stores from the archive."""
    from d4c_pipeline.chain.catalogue import rebuild as rebuild_catalogue
    from d4c_pipeline.model.errors import PermanentError
    from d4c_pipeline.upkeep import recovery
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    if from_archive and only_missing:
        raise typer.BadParameter("Choose --from-archive or --missing")
    settings = read_settings(home, defs, debug)
    declared = load_datasets(settings.definitions)
    with Deployment.open(settings, archive=from_archive) as deployment:
        if from_archive:
            families = tuple(load_families(settings.definitions).values())
            found = recovery.from_archive(deployment, declared, families)
        else:
            catalogued = rebuild_catalogue(
                deployment, tuple(declared.values()), complete=not only_missing, missing=only_missing
            )
            found = recovery.Recovered((), (), catalogued)
    done = found.catalogued
    missing = [asdict(each) for each in found.left_out]
    facts: dict[str, Any] = {"adopted": [asdict(each) for each in found.adopted]}
    if done is not None:
        missing += [{"record": each.dataset, "cause": each.cause, "remedy": each.remedy} for each in done.left_out]
        facts |= {"releases": done.releases, "datasets": done.datasets, "url": done.url}
    facts["left_out"] = missing
    if as_json:
        print_json(facts)
    else:
        if found.adopted:
            print_table(facts["adopted"], ("release", "doi"))
            out.print()
        print_facts({**facts, "adopted": len(found.adopted), "left_out": len(missing)})
        for each in missing:
            err.print(f"{each['record']}: {each['cause']}. {each['remedy']}", markup=False)
    if missing:
        first = missing[0]
        raise PermanentError(f"{len(missing)} are left out: {first['record']}: {first['cause']}", first["remedy"])


@contextmanager
def _opened(home: Path | None, debug: bool) -> Iterator[tuple[Deployment, Path]]:
    """Open the deployment, with a temporary folder for files of a bucket."""
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, None, debug)
    with TemporaryDirectory(prefix="d4c-") as folder, Deployment.open(settings, archive=False) as deployment:
        yield deployment, Path(folder)


def _print_documents(answer: Answer) -> None:
    # Row by row: the result may be larger than memory. The first row is computed before anything is printed.
    separator = "["
    for document in answer.documents():
        sys.stdout.write(f"{separator}\n  {json.dumps(document, ensure_ascii=False)}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_csv(answer: Answer) -> None:
    rows = answer.texts()
    first = next(rows, None)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    if first is not None:
        writer.writerow(first)
        writer.writerows(rows)


def _print_rows(answer: Answer) -> None:
    rows = list(islice(answer.texts(), _MOST_ROWS + 1))
    names = [f"{number}" for number in range(len(answer.columns))]  # names may repeat
    shown = [dict(zip(names, row, strict=True)) for row in rows[:_MOST_ROWS]]
    print_table(shown, names, headers=answer.columns)
    if len(rows) > _MOST_ROWS:
        err.print(f"More than {_MOST_ROWS} rows: add LIMIT, or print all with --csv or --json.", markup=False)
