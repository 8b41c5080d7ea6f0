"""`d4c check`: proves a declaration before anything is published. `chain.dry_run` builds and checks on trial."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, err, out, print_json, print_table, read_settings
from d4c_pipeline.model.errors import PermanentError


def check(
    dataset: Annotated[str, typer.Argument(help="Id of a dataset.")],
    vintage: Annotated[str | None, typer.Option("--vintage", help="A vintage; by default the newest.")] = None,
    most_megabytes: Annotated[
        int, typer.Option("--most-megabytes", min=1, help="Refuse to fetch more than this.")
    ] = 500,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=1, help="Build a sample: the first rows of the files, which are fetched."),
    ] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fetch, build and check a vintage on trial, and list missing fields with the sentence that fills each.

    Nothing is retained, planned or published. The exit code is 1 while a check fails or a gap is left.
    """
    from d4c_pipeline.chain.dry_run import trial
    from d4c_pipeline.commands.progress_bar import showing
    from d4c_pipeline.model.completeness import completeness_of
    from d4c_pipeline.sources.open import open_source
    from d4c_pipeline.watch.families import known_datasets
    from d4c_pipeline.workspace.datasets import load_datasets, load_families, pick
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    defined, families = load_datasets(settings.definitions), load_families(settings.definitions)
    with Deployment.open(settings, archive=False) as deployment, showing(err, quiet=as_json or debug):
        chosen = pick(known_datasets(deployment, defined, families.values()), dataset)
        newest = None if vintage is not None else open_source(chosen, settings.origins).discover()[-1]
        done = trial(deployment, chosen, newest or chosen.vintage(str(vintage)), most_megabytes << 20, most_rows=rows)
    complete = completeness_of(chosen)
    verdicts = [
        {"check": each.check, "verdict": each.outcome.name, "actual": each.actual, "remedy": each.remedy}
        for each in done.verdicts
    ]
    row: dict[str, Any] = {
        "dataset": chosen.id,
        "vintage": str(done.run.vintage),
        "outcome": done.outcome,
        "rows": done.run.rows,
        "size": done.run.bytes,
        "fetched": done.fetched,
        "sample": done.sample,
    }
    gaps = [{"field": gap.field, "sentence": gap.sentence} for gap in done.gaps]
    missing = [
        {"field": each.field, "formats": list(each.formats), "sentence": each.sentence} for each in complete.missing
    ]
    if as_json:
        print_json(
            {
                **row,
                "ready": done.is_ready,
                "unjudged": list(done.unjudged),
                "verdicts": verdicts,
                "gaps": gaps,
                "completeness": complete.score,
                "missing": missing,
            }
        )
    else:
        print_table([row], tuple(name for name in row if name != "sample"))
        if done.sample is not None:
            out.print(
                f"This was a sample: the first {done.sample:,} rows of more. Rows behind them were not read. Neither "
                f"compared nor judged: the newest release, {', '.join(done.unjudged)}. Check without --rows before "
                "publishing."
            )
        print_table(verdicts, ("check", "verdict", "actual", "remedy"))
        if gaps:
            print_table(gaps, ("field", "sentence"), headers=("to fill before publication", ""))
        shown = [{**each, "formats": ", ".join(each["formats"])} for each in missing]
        if shown:
            print_table(shown, ("field", "formats", "sentence"), headers=("wanted", "by the records", ""))
        out.print(f"completeness: {complete.score:.0%}")
    if not done.is_ready:
        failed = [each["check"] for each in verdicts if each["verdict"] == "FAILURE"]
        why = [
            *([f"{', '.join(failed)} failed"] if failed else []),
            *([f"{len(gaps)} gaps are left"] if gaps else []),
        ]
        raise PermanentError(f"{chosen.id} is not ready: {' and '.join(why)}", "Correct the definition, check it again")
