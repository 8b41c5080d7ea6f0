"""`d4c changes` and `d4c apply`: changes between the data files of two releases as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, out, print_facts, print_json, read_settings

_MANY = "Repeat it for data in parts."


def changes(
    earlier: Annotated[list[Path], typer.Option("--from", help=f"A data file of the earlier release. {_MANY}")],
    later: Annotated[list[Path], typer.Option("--to", help=f"A data file of the later release. {_MANY}")],
    into: Annotated[Path, typer.Argument(help="The file of changes to write, ..._changes.parquet.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write every row that differs between two states of a dataset, with both values, and prove it.

    The proof applies the changes to the earlier files and compares the sha256 of what comes out with the later files.
    """
    import tempfile

    from d4c_pipeline.files.scratch import put_in_place
    from d4c_pipeline.processing import changes as changing

    settings = read_settings(None, None, debug)
    limits = {"threads": settings.threads, "memory_limit": settings.memory_limit}
    with tempfile.TemporaryDirectory(prefix=".changes-", dir=into.absolute().parent) as work:
        found = changing.find(earlier, later, Path(work) / into.name, temp=settings.temp, **limits)
        changing.apply(earlier, found.path, Path(work) / "applied", temp=settings.temp, **limits)
        put_in_place(found.path, into)
    facts = {"rows by kind": dict(found.recipe.counts), "rows by column": found.by_column, "proved": True}
    if as_json:
        print_json(facts)
        return
    print_facts({f"rows {kind.replace('_', ' ')}": count for kind, count in found.recipe.counts.items()})
    print_facts({f"changed in {name}": count for name, count in found.by_column.items()})
    if not found.recipe.counts:
        out.print("No row differs; only what describes the data does, if anything.")
    out.print(f"The earlier files and {into} make the later files, byte for byte.")


def apply(
    earlier: Annotated[list[Path], typer.Argument(help="All data files of the earlier release, then the changes.")],
    into: Annotated[Path, typer.Option("--into", help="Folder for the later files.")] = Path(),
    debug: Debug = False,
) -> None:
    """Make the data files of a release out of those of the release before and its changes; compare their sha256.

    Example: d4c apply OLD.parquet NEW_changes.parquet --into later
    """
    from d4c_pipeline.processing import changes as changing

    if len(earlier) < 2:
        raise typer.BadParameter("Name the data files of the earlier release and, last, the file of changes.")
    settings = read_settings(None, None, debug)
    done = changing.apply(
        earlier[:-1],
        earlier[-1],
        into,
        threads=settings.threads,
        memory_limit=settings.memory_limit,
        temp=settings.temp,
    )
    for path, file in zip(done.files, done.recipe.later, strict=True):
        out.print(f"{path}: {file.rows} rows, sha256 {file.sha256}, as published")
