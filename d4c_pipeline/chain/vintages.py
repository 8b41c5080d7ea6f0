"""Which vintages a source really has: a publisher that packs the same files anew makes none.

What follows from a new vintage belongs to `noticing.py`.
"""

from __future__ import annotations

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import native_path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.content import content_of
from d4c_pipeline.sources.port import Source


def served_vintages(deployment: Deployment, dataset: Dataset, source: Source) -> tuple[Vintage, ...]:
    """Return the vintages at the source, oldest first.

    Where the date of the files is the vintage, zips that are rebuilt every night would be one each night: when what
    they hold is what is retained of the newest vintage, that one is returned instead. Raises what the source raises.
    """
    found = source.discover()
    retained = deployment.ledger.natives.vintages(dataset.id)
    if dataset.fixed_vintages is not None or dataset.source.names_vintage or not retained or found[-1] <= retained[-1]:
        return found
    natives = deployment.ledger.natives.current(dataset.id, retained[-1], dataset.source.addresses(retained[-1]))
    paths = [path for native in natives if (path := native_path(deployment, dataset.id, retained[-1], native))]
    held = content_of(paths) if paths and len(paths) == len(natives) else None
    if held is None or source.content(found[-1]) != held:
        return found
    return (retained[-1],)
