"""The keys of all leases: one key for each object that a single process may work on.

Two keys for one object would let two processes work on it. Holding a lease belongs to `leases`.
"""

from __future__ import annotations

from d4c_pipeline.model.vintage import Vintage

CATALOGUE = "catalogue"
"""Key of the catalogue of all datasets."""

PORTAL = "portal"
"""Key of the portal's folder."""

RETENTION = "retention"
"""Key of pushing to mirrors and pruning them."""

FIXITY = "fixity"
"""Key of auditing and repairing copies."""

ALERTS = "alerts"
"""Key of sending alerts."""

SUBMISSION_NOTICES = "submission notices"
"""Key of telling submitters what changed."""

EMBEDDED_SERVER = "embedded file server"
"""Key of the file server that a step starts for a deployment without a public address."""


def of_vintage(dataset: str, vintage: Vintage | str) -> str:
    """Return the key of a vintage of a dataset id: its staging, plan, deposit and copies."""
    return f"{dataset}/{vintage}"


def of_dry_run(dataset: str, vintage: Vintage) -> str:
    """Return the key of the folder in which a dry run builds a vintage of a dataset id."""
    return f"dry run/{dataset}/{vintage}"


def of_backfill(number: int) -> str:
    """Return the key of a backfill, by its number."""
    return f"backfill/{number}"


def of_latest(dataset: str) -> str:
    """Return the key of the `/processed/` addresses of a dataset id."""
    return f"latest/{dataset}"


def of_run(run: str) -> str:
    """Return the key of a run of Dagster, by its id: the heartbeat of the process that executes it."""
    return f"run/{run}"


def of_submission(number: int) -> str:
    """Return the key of a submission, by its number: its assessment and its draft."""
    return f"submission/{number}"


def of_definition(dataset: str) -> str:
    """Return the key of the file of a definition, by its id: one process at a time commits it."""
    return f"definition/{dataset}"
