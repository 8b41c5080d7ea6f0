"""`d4c vocabulary`: controlled vocabularies in the ledger. `drafting.vocabularies` reads their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    Who,
    open_ledger,
    out,
    person,
    print_json,
    print_table,
)

vocabulary_app = typer.Typer(no_args_is_help=True, help="Import vocabularies, search their terms, find dropped ones.")
_COLUMNS = ("name", "version", "title", "terms", "who", "imported_at")


@vocabulary_app.command("import")
def import_vocabulary(
    file: Annotated[Path, typer.Argument(help="CSV of GCMD, SKOS in RDF/XML, XML of CF standard names.")],
    name: Annotated[str | None, typer.Option("--name", help="Name instead of the one that the file states.")] = None,
    who: Who = None,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Import a version of a vocabulary. The same file imported again changes nothing."""
    from d4c_pipeline.drafting.vocabularies import read_vocabulary

    read = read_vocabulary(file, name)
    with open_ledger(home, debug) as (ledger, _):
        is_new = ledger.vocabularies.add(read, who=person(who))
    if as_json:
        print_json({"name": read.name, "version": read.version, "terms": len(read.terms), "imported": is_new})
        return
    done = "imported" if is_new else "already there"
    out.print(f"{read.name} {read.version}: {len(read.terms):,} terms, {done}", markup=False)


@vocabulary_app.command("list")
def list_vocabularies(home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the imported versions, the newest of each vocabulary first."""
    with open_ledger(home, debug) as (ledger, _):
        rows = [{column: getattr(each, column) for column in _COLUMNS} for each in ledger.vocabularies.all()]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, _COLUMNS)


@vocabulary_app.command("search")
def search(
    name: Annotated[str, typer.Argument(help="Name of a vocabulary, as 'd4c vocabulary list' prints it.")],
    text: Annotated[str, typer.Argument(help="Part of a label in English or French.")],
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find terms of the newest version by a part of their label, in both languages."""
    with open_ledger(home, debug) as (ledger, _):
        found = ledger.vocabularies.search(name, text)
    rows = [{"en": each.en, "fr": each.fr, "path": " > ".join(each.path), "id": each.id} for each in found]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("en", "fr", "path", "id"))


@vocabulary_app.command("dropped")
def dropped(home: Home = None, defs: Defs = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List keywords of datasets that the newest version of a vocabulary no longer has."""
    from d4c_pipeline.drafting.vocabularies import dropped_keywords
    from d4c_pipeline.workspace.datasets import load_datasets

    with open_ledger(home, debug, defs) as (ledger, settings):
        found = dropped_keywords(ledger, load_datasets(settings.definitions).values())
    columns = ("dataset", "language", "keyword", "vocabulary", "last", "current")
    rows = [{column: getattr(each, column) for column in columns} for each in found]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, columns)
