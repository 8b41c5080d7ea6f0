"""`d4c export`: a record of a release in any format, and the DuckLake of all releases, read from the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, out, print_facts, print_json, read_settings

_LAKE = "ducklake"


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="`ducklake`, or a format of records such as `dcat`.")],
    release: Annotated[str | None, typer.Argument(help="Name of a release; not for `ducklake`.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; without it a record is printed.")] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a record of a release, or the DuckLake whose tables are the released files."""
    from d4c_pipeline.chain.export import export_lake, export_record
    from d4c_pipeline.files.disk import write_file
    from d4c_pipeline.metadata.records.registry import record_formats
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    if form != _LAKE and form not in record_formats():
        raise typer.BadParameter(f"'{form}' is none of {', '.join((_LAKE, *record_formats()))}")
    if (release is None) != (form == _LAKE):
        raise typer.BadParameter("The lake has all releases" if form == _LAKE else "Name the release of the record")
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
        lake = export_lake(deployment, (to or Path("lake.ducklake")).absolute(), declared)
    if as_json:
        print_json({"path": str(lake.path), "tables": {name: dict(found) for name, found in lake.tables.items()}})
        return
    print_facts({"lake": lake.path, "tables": len(lake.tables)})
    out.print(f"  ATTACH 'ducklake:{lake.path}' AS lake (READ_ONLY);", markup=False)
