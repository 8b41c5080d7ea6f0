"""Dead letters: standing failures with their input and history, for people, SQL and replay.

The failures themselves are recorded by `failures`; running a step again belongs to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.secrets import public_address
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.watch import families
from d4c_pipeline.watch.failures import describe_failures
from d4c_pipeline.workspace.deployment import Deployment

VIEW = "failed"
"""The name of the table in SQL."""
_HISTORY = ("step failed", "step recovered")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "partition", "step", "since", "last")),
        ("times", pa.int64()),
        ("kind", pa.string()),
        ("transient", pa.bool_()),
        *((name, pa.string()) for name in ("cause", "remedy", "run", "command", "inputs", "history")),
    ]
)


def dead_letters(
    deployment: Deployment,
    known: Mapping[str, Dataset | Family],
    *,
    only: Collection[str] | None = None,
    partition: str | None = None,
    cause: str | None = None,
) -> list[dict[str, Any]]:
    """Return the standing failures in the keys of `describe_failures`, with `inputs` and `history`.

    `known`: all datasets and families by id. `only`: these ids; `partition`: this one; `cause`: a part of the cause, in
    any case. `inputs`: the retained native files of the partition (name, url, sha256, address), or the addresses of the
    source. `history`: earlier failures and recoveries of the partition, oldest first.
    """
    rows = [
        row
        for row in describe_failures(deployment, known if only is None else only)
        if (partition is None or row["partition"] == partition)
        and (cause is None or cause.casefold() in row["cause"].casefold())
    ]
    return [
        {
            **row,
            "inputs": _inputs(deployment, known[row["dataset"]], row["partition"]),
            "history": _history(deployment, row),
        }
        for row in rows
    ]


def write_table(rows: Collection[Mapping[str, Any]], path: Path) -> None:
    """Write dead letters as a Parquet table; `inputs` and `history` are JSON."""
    columns = [
        {**row, "inputs": json.dumps(row["inputs"]), "history": json.dumps(row["history"], ensure_ascii=False)}
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(columns, _SCHEMA), path)


def _inputs(deployment: Deployment, declared: Dataset | Family, partition: str) -> list[dict[str, str]]:
    found = _vintage_of(deployment, declared, partition)
    if found is None:
        return []
    dataset, vintage = found
    addresses = dataset.source.addresses(vintage)
    natives = deployment.ledger.natives.current(dataset.id, vintage, addresses)
    if not natives:
        return [{"url": public_address(address)} for address in addresses or ()]
    return [
        {"name": each.name, "url": public_address(each.url), "sha256": each.sha256, "address": each.address}
        for each in natives
    ]


def _vintage_of(deployment: Deployment, declared: Dataset | Family, partition: str) -> tuple[Dataset, Vintage] | None:
    """Return dataset and vintage of a partition; None for the listing of a source and an unfetched member."""
    if isinstance(declared, Dataset):
        return (declared, Vintage.parse(partition)) if partition else None
    if not partition or deployment.ledger.members.of(declared.id, partition) is None:
        return None
    dataset = families.member(deployment, declared, partition)
    vintages = deployment.ledger.natives.vintages(dataset.id)
    return (dataset, vintages[-1]) if vintages else None


def _history(deployment: Deployment, row: Mapping[str, Any]) -> list[dict[str, str]]:
    events = deployment.ledger.events.of(row["dataset"], row["partition"] or None)
    return [
        {
            "at": event.at.isoformat(timespec="seconds"),
            "event": event.kind,
            "step": event.detail.get("step", ""),
            "cause": event.detail.get("cause", ""),
        }
        for event in events
        if event.kind in _HISTORY
    ]
