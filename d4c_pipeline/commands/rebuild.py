"""`d4c rebuild`: a stranger's proof that the data of a release follows from its record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Home, out, print_json, print_table, read_settings

_DIFFERENT = 3


def rebuild(
    record: Annotated[
        str, typer.Argument(help="DOI or name of a release, or a folder with all its files, as downloaded.")
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Archive of a DOI: an InvenioRDM's address, zenodo, or a local archive's folder."),
    ] = None,
    natives: Annotated[Path | None, typer.Option("--natives", help="Folder with its native files.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Rebuild a release from its record alone and compare the sha256 of its data and of its derived files.

    A DOI or name is looked up in the ledger of the home, if there is one, else in the archive. Native files come from
    --natives, a store, the record, or the source, and are used only with the recorded sha256. Exit codes: 0 equal,
    3 different, 1 it could not be rebuilt.
    """
    from d4c_pipeline.upkeep.fetched_records import fetched_record, retaining_stores
    from d4c_pipeline.upkeep.rebuilding import rebuild as rebuilt

    settings = read_settings(home, None, debug)
    facts: dict[str, Any] = {}
    if source is None and Path(record).is_dir():
        done = rebuilt(Path(record), settings, natives)
    else:
        with fetched_record(record, settings, source) as fetched:
            facts = {"record": fetched.origin, "doi": fetched.doi, "not_fetched": fetched.left_out}
            done = rebuilt(fetched.folder, settings, natives, stores=retaining_stores(settings))
    if as_json:
        print_json({**facts, **asdict(done), "equal": done.is_equal})
    else:
        if facts:
            out.print(f"record: {facts['record']}", markup=False)
        rows = [{**asdict(file), "result": "equal" if file.is_equal else "different"} for file in done.files]
        print_table(rows, ("name", "result", "copy", "recorded", "rebuilt"))
        for name, why in facts.get("not_fetched", {}).items():
            out.print(f"not fetched: {name}: {why}", markup=False)
        for name, why in done.uncompared.items():
            out.print(f"not compared: {name}: {why}", markup=False)
        for name, origin in done.natives.items():
            out.print(f"native file {name}: {origin}", markup=False)
        for reason in done.reasons:
            out.print(f"possible cause: {reason}", markup=False)
        if done.is_equal and not all(file.is_equal for file in done.files):
            out.print("Derived files differ and data does not: they have the same bytes only with the same tools.")
        out.print(f"{done.release}: {'equal' if done.is_equal else 'different'}", markup=False)
    if not done.is_equal:
        raise typer.Exit(_DIFFERENT)
