"""Checks a source on request: its listing, the due partitions, or the reason why it is unreachable.

The scheduled observation belongs to `noticing` and `orchestration`.
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.family import Family
from d4c_pipeline.watch import families, noticing
from d4c_pipeline.workspace.deployment import Deployment


def ask_now(deployment: Deployment, declared: Dataset | Family, *, accept: bool = False) -> dict[str, Any]:
    """Check the source of a dataset or family, and return the result in stable keys.

    `listed` is the number of vintages or members. `due` are those whose state differs from the published one; for a
    family only members that were fetched before, since all others are due. `failed` is the reason why the source is
    unreachable. `remark`, if any, is an implausible statement of the source, or a limit, such as edits of a file
    without ETag and date.
    """
    row: dict[str, Any] = {"dataset": declared.id, "listed": None, "due": [], "failed": None}
    try:
        if isinstance(declared, Family):
            listed = families.discover(deployment, declared, accept=accept)
        else:
            listed = tuple(str(each) for each in noticing.discover(deployment, declared, accept=accept))
            found = noticing.observe(deployment, declared, listed, None, budget=float("inf"))
            row["failed"] = "; ".join(f"{key}: {error}" for key, error in found.unanswered.items()) or None
            if found.remark is not None:
                row["remark"] = found.remark
    except D4CError as error:
        return {**row, "failed": str(error)}
    waiting = isinstance(declared, Family) and declared.noticing.new_members == "wait"
    due = deployment.ledger.observations.due(declared.id, fetched_before=waiting)
    return {**row, "listed": len(listed), "due": sorted(due.keys() & set(listed))}
