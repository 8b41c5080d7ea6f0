"""`d4c failed`: failed partitions with cause, input and history; SQL over them; running them again."""

from __future__ import annotations

import json
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
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError

if TYPE_CHECKING:
    from d4c_pipeline.model.dataset import Dataset
    from d4c_pipeline.model.family import Family
    from d4c_pipeline.model.settings import Settings


def failed(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset or family.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Only this vintage or member.")] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Only causes that contain this text.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="One SELECT of DuckDB over the table `failed`.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Run the listed partitions again.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List failed partitions, with cause and recovery command; query them, or run them again."""
    from d4c_pipeline.watch.dead_letters import dead_letters
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, unknown_id
    from d4c_pipeline.workspace.deployment import Deployment

    if sql is not None and replay:
        raise PermanentError("--sql and --replay exclude each other", "Select with --partition and --cause to replay")
    settings = read_settings(home, defs, debug)
    known = {**load_datasets(settings.definitions), **load_families(settings.definitions)}
    if dataset is not None and dataset not in known:
        raise unknown_id(known, dataset)
    only = None if dataset is None else [dataset]
    with Deployment.open(settings) as deployment:
        rows = dead_letters(deployment, known, only=only, partition=partition, cause=cause)
    if sql is not None:
        _query(settings, rows, sql, as_json=as_json)
    elif replay:
        _replay(settings, known, rows, as_json=as_json, debug=debug)
    elif as_json:
        print_json(rows)
    else:
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        out.print(f"[bold]{row['dataset']} {row['partition']}[/bold] failed at '{row['step']}'", style="red")
        inputs = ", ".join(each.get("address") or each["url"] for each in row["inputs"])
        print_facts(
            {
                "since": f"{row['since']}, {row['times']} time(s), last {row['last']}",
                "cause": row["cause"],
                "remedy": row["remedy"],
                **({"input": inputs} if inputs else {}),
                "recovery": row["command"],
            }
        )
    out.print(f"{len(rows)} failed partitions" if rows else "No failed partitions")


def _query(settings: Settings, rows: list[dict[str, Any]], sql: str, *, as_json: bool) -> None:
    from d4c_pipeline.catalogue.query import answering
    from d4c_pipeline.watch.dead_letters import VIEW, write_table

    with TemporaryDirectory(prefix="d4c-failed-") as folder:
        path = Path(folder) / f"{VIEW}.parquet"
        write_table(rows, path)
        with answering(sql, path, view=VIEW, memory_limit=settings.memory_limit) as answer:
            if as_json:
                print_json(list(answer.documents()))
                return
            names = [f"{number}" for number in range(len(answer.columns))]  # names may repeat
            shown = [dict(zip(names, row, strict=True)) for row in answer.texts()]
            print_table(shown, names, headers=answer.columns)


def _replay(
    settings: Settings,
    known: dict[str, Dataset | Family],
    rows: list[dict[str, Any]],
    *,
    as_json: bool,
    debug: bool,
) -> None:
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.watch.failures import SEED

    done: list[dict[str, Any]] = []
    partitions = list(dict.fromkeys((row["dataset"], row["partition"], row["step"] == SEED) for row in rows))
    for subject, partition, seeding in partitions:
        result: dict[str, Any] = {"dataset": subject, "partition": partition, "outcome": "recovered", "cause": None}
        try:
            with showing(err, quiet=as_json or debug):
                if seeding:
                    _restore(settings, known, subject, partition)
                else:
                    _run_again(settings, known, subject, partition)
        except D4CError as error:
            result |= {"outcome": "failed again", "cause": error.cause}
        done.append(result)
    if as_json:
        print_json(done)
    elif done:
        print_table(done, ("dataset", "partition", "outcome", "cause"))
    else:
        out.print("No failed partitions")
    again = [each for each in done if each["cause"] is not None]
    if again:
        raise NeedsPersonError(
            f"{len(again)} of {len(done)} partitions failed again: {json.dumps(again[0]['cause'], ensure_ascii=False)}",
            "See their remedies with 'd4c failed'",
        )


def _restore(settings: Settings, known: dict[str, Dataset | Family], subject: str, partition: str) -> None:
    """Verify and repair the copies of a dataset or of a member; the seeder serves the repaired files by itself."""
    from d4c_pipeline.model.dataset import Dataset
    from d4c_pipeline.model.errors import IntegrityError
    from d4c_pipeline.model.fixity import FixityPolicy
    from d4c_pipeline.upkeep.fixity import audit
    from d4c_pipeline.upkeep.repair import Outcome, repair
    from d4c_pipeline.watch.failures import SEED
    from d4c_pipeline.watch.families import member
    from d4c_pipeline.workspace.deployment import Deployment

    with Deployment.open(settings) as deployment:
        declared = known[subject]
        dataset = declared if isinstance(declared, Dataset) else member(deployment, declared, partition)
        audit(deployment, FixityPolicy.of(settings), full=True, datasets=frozenset({dataset.id}))
        done = repair(deployment, datasets=frozenset({dataset.id}))
        for each in done:
            if each.outcome not in (Outcome.RESTORED, Outcome.INTACT):
                raise IntegrityError(f"{each.copy} is not repaired: {each.reason}", f"Run 'd4c repair {dataset.id}'")
        deployment.ledger.failures.settle(subject, partition, SEED)


def _run_again(settings: Settings, known: dict[str, Dataset | Family], subject: str, partition: str) -> None:
    """Run the chain of a partition, or check the source of a dataset. Raises what the run raises."""
    from d4c_pipeline.model.dataset import Dataset
    from d4c_pipeline.orchestration.publishing import publish_member, publish_vintage
    from d4c_pipeline.watch.noticing_report import ask_now
    from d4c_pipeline.workspace.deployment import Deployment

    declared, datasets = known[subject], [each for each in known.values() if isinstance(each, Dataset)]
    if not partition:
        with Deployment.open(settings) as deployment:
            found = ask_now(deployment, declared)
        if found["failed"]:
            raise NeedsPersonError(str(found["failed"]).rstrip("."), f"See 'd4c failed {subject}'")
    elif isinstance(declared, Dataset):
        publish_vintage(settings, declared, partition, datasets)
    else:
        publish_member(settings, declared, partition, datasets)
