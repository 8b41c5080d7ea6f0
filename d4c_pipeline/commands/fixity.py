"""`d4c verify` and `d4c repair`: the audit of copies and their repair on request. `upkeep` does the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from d4c_pipeline.commands.common import (
    AsJson,
    Debug,
    Defs,
    Home,
    out,
    print_facts,
    print_json,
    print_table,
    read_settings,
)
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError

if TYPE_CHECKING:
    from d4c_pipeline.model.dataset import Dataset
    from d4c_pipeline.model.fixity import ExpectedCopy, Verification
    from d4c_pipeline.workspace.deployment import Deployment

_SHOWN = 5
# The JSON keeps its older keys.
_LABELS = {
    "looked at": "checked",
    "could not be asked": "unreachable",
    "of vintages at work": "in progress",
    "not read in time": "overdue",
}
Names = Annotated[list[str] | None, typer.Argument(help="Only these datasets.", metavar="[DATASET]...")]


def verify(
    datasets: Names = None,
    full: Annotated[bool, typer.Option("--full", help="Read every copy in full, recently read ones too.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Verify every published copy: stores, archive, web seeds."""
    from d4c_pipeline.model.fixity import FixityPolicy
    from d4c_pipeline.upkeep.coverage import shortfalls
    from d4c_pipeline.upkeep.fixity import audit
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    known = load_datasets(settings.definitions)
    with Deployment.open(settings) as deployment:
        chosen = _chosen(deployment, known, datasets)
        found = audit(deployment, FixityPolicy.of(settings), full=full, datasets=chosen)
        short = shortfalls(deployment, [*known.values(), *load_families(settings.definitions).values()], chosen)
    rows = [
        _row(finding.copy) | {"state": finding.state.value, "found": finding.detail}
        for finding in (*found.lost, *found.unreachable)
    ]
    facts: dict[str, Any] = {
        "copies": found.expected,
        "looked at": found.checked,
        "read in full": found.read,
        "bytes read": found.read_bytes,
        "damaged or missing": len(found.lost),
        "could not be asked": len(found.unreachable),
        "of vintages at work": len(found.busy),
        "not read in time": found.overdue,
    }
    if as_json:
        few = [{**vars(each), "mend": each.mend.name.lower()} for each in short]
        print_json({**facts, "findings": rows, "left alone": dict(found.refused), "too few copies": few})
    else:
        print_facts({_LABELS.get(name, name): value for name, value in facts.items()})
        if rows:
            out.print()
            print_table(rows, ("kind", "place", "address", "state", "found"))
        warnings = [f"{place} was skipped: {why}" for place, why in found.refused.items()]
        warnings += [str(each) for each in short[:_SHOWN]]
        if len(short) > _SHOWN:
            warnings.append(f"{len(short) - _SHOWN} other releases have too few copies too (see --json)")
        for warning in warnings:
            out.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
    if found.lost:
        raise IntegrityError(
            _counted([finding.copy for finding in found.lost], "damaged or missing"), _remedy(found.lost)
        )
    if found.refused or found.unreachable:
        parts = [f"{place}: {why}" for place, why in found.refused.items()]
        parts += [f"{finding.copy}: {finding.detail}" for finding in found.unreachable[:3]]
        raise NeedsPersonError(
            f"The audit is incomplete ({'; '.join(parts)})",
            "Make the place reachable, then run again; 'd4c repair --refill STORE' fills an emptied store",
        )


def repair(
    datasets: Names = None,
    refill: Annotated[
        list[str] | None, typer.Option("--refill", help="Refill this store, which lost all files.")
    ] = None,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Restore damaged and missing copies from verified ones."""
    from d4c_pipeline.upkeep.repair import Outcome
    from d4c_pipeline.upkeep.repair import repair as mend
    from d4c_pipeline.workspace.datasets import load_datasets
    from d4c_pipeline.workspace.deployment import Deployment

    settings = read_settings(home, defs, debug)
    with Deployment.open(settings) as deployment:
        chosen = _chosen(deployment, load_datasets(settings.definitions), datasets)
        done = mend(deployment, datasets=chosen, refill=refill or ())
    rows = [
        _row(each.copy)
        | {"outcome": each.outcome.value, "source": each.source, "quarantine": each.quarantine, "said": each.reason}
        for each in done
    ]
    if as_json:
        print_json(rows)
    else:
        out.print(
            f"Copies to repair: {len(rows)}" if rows else "Nothing to repair by the last 'd4c verify'", style="bold"
        )
        if rows:
            print_table(rows, ("kind", "place", "address", "outcome", "source", "quarantine"))
    left = [each for each in done if each.outcome not in (Outcome.RESTORED, Outcome.INTACT)]
    if left:
        raise IntegrityError(
            f"{_counted([each.copy for each in left], 'not repaired')}, such as {left[0].copy}: {left[0].reason}",
            "Restore the file from a backup, or remove the cause, then run again; materializing 'raw' of its vintage "
            "fetches a native file again",
        )


def _chosen(deployment: Deployment, known: dict[str, Dataset], datasets: Sequence[str] | None) -> frozenset[str] | None:
    """Return the ids of the named datasets: declared, or only in the ledger."""
    if not datasets:
        return None
    from d4c_pipeline.workspace.datasets import pick

    published = {release.dataset for release in deployment.ledger.releases.published()}
    return frozenset(name if name in published else pick(known, name).id for name in datasets)


def _row(copy: ExpectedCopy) -> dict[str, Any]:
    return {
        "kind": copy.kind.value,
        "dataset": copy.dataset,
        "vintage": copy.vintage,
        "place": copy.place,
        "address": copy.address,
    }


def _counted(copies: Sequence[ExpectedCopy], what: str) -> str:
    from d4c_pipeline.model.fixity import CopyKind

    kinds = Counter(copy.kind for copy in copies)
    words = {
        CopyKind.RELEASE: "of releases in stores",
        CopyKind.NATIVE: "of native files",
        CopyKind.LATEST: "in /processed/",
        CopyKind.ARCHIVE: "at the archive",
        CopyKind.WEB_SEED: "of web seeds",
    }
    parts = ", ".join(f"{number} {words[kind]}" for kind, number in sorted(kinds.items()))
    return f"{len(copies)} {'copy is' if len(copies) == 1 else 'copies are'} {what} ({parts})"


def _remedy(lost: Sequence[Verification]) -> str:
    from d4c_pipeline.model.fixity import CopyKind

    remedies: list[str] = []
    if any(finding.copy.kind.is_stored for finding in lost):
        remedies.append("'d4c repair' restores files that have a good copy")
    if any(finding.copy.kind is CopyKind.ARCHIVE for finding in lost):
        remedies.append("ask the archive's managers about its files")
    if any(finding.copy.kind is CopyKind.WEB_SEED for finding in lost):
        remedies.append("repair the servers of web seeds, or reissue the torrents without them")
    return "; ".join(remedies)
