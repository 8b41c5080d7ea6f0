"""The keys of leases: one per thing that a single process may work on, each made here and nowhere else.

Two names for one thing would let two processes work on it. How a lease is held belongs to `leases`.
"""

from __future__ import annotations

from d4c_pipeline.model.vintage import Vintage

CATALOGUE = "catalogue"
"""Of the catalogue of all datasets."""

RETENTION = "retention"
"""Of pruning the mirrors."""

FIXITY = "fixity"
"""Of auditing and repairing copies."""

EMBEDDED_SERVER = "embedded file server"
"""Of the file server that a step starts for a deployment without a public address."""


def of_vintage(dataset: str, vintage: Vintage | str) -> str:
    """Return the key of a vintage of the dataset with that id: of its staging, its plan, its deposit, its copies."""
    return f"{dataset}/{vintage}"


def of_latest(dataset: str) -> str:
    """Return the key of the `/processed/` addresses of the dataset with that id."""
    return f"latest/{dataset}"
