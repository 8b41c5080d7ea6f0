"""Asking a source now, for somebody who waits: what it lists, what is due, why it can't be asked.

What the automation does with it belongs to `orchestration`.
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.family import Family
from d4c_pipeline.watch import families, noticing
from d4c_pipeline.workspace.deployment import Deployment


def ask_now(deployment: Deployment, declared: Dataset | Family, *, accept: bool = False) -> dict[str, Any]:
    """Ask the source of a dataset or family, and describe the answer in stable words.

    `listed`: how many vintages or members there are. `due`: those of which it says something else than was published;
    of a family only members that were fetched before, since all others are. `failed`: why it could not be asked.
    `remark`, only where there is one: what the source says and is not believed, or can't say, such as an edit of a file
    without ETag and date.
    """
    row: dict[str, Any] = {"dataset": declared.id, "listed": None, "due": [], "failed": None}
    try:
        if isinstance(declared, Family):
            listed = families.discover(deployment, declared, accept=accept)
        else:
            listed = tuple(str(one) for one in noticing.discover(deployment, declared, accept=accept))
            found = noticing.observe(deployment, declared, listed, None, budget=float("inf"))
            row["failed"] = "; ".join(f"{key}: {error}" for key, error in found.unanswered.items()) or None
            if found.remark is not None:
                row["remark"] = found.remark
    except D4CError as error:
        return {**row, "failed": str(error)}
    waiting = isinstance(declared, Family) and declared.noticing.new_members == "wait"
    due = deployment.ledger.observations.due(declared.id, fetched_before=waiting)
    return {**row, "listed": len(listed), "due": sorted(due.keys() & set(listed))}
