"""The job `publish_<id>` of a product: its chain, and the tags by which the list of runs names the dataset.

The sensor `changes_are_published`, the UI and the command line start runs of this job. The catalogue follows by its own
condition; a run of the command line contains it. Concept: https://docs.dagster.io/guides/build/jobs/asset-jobs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.build_resources import wrap_resources_for_execution

from d4c_pipeline.orchestration.products import Product
from d4c_pipeline.orchestration.resources import DATASET, PUBLISH


def publish_job(
    product: Product, assets: Sequence[dg.AssetsDefinition | dg.SourceAsset], resources: Mapping[str, Any]
) -> dg.JobDefinition:
    """Return the job of a product over `assets`.

    Resolved over the graph of these assets alone. A repository of all assets resolves a job in quadratic time for
    hundreds of datasets (3.4 s of CPU for 200); one for each job costs a sixth of the loading.
    """
    return dg.define_asset_job(
        PUBLISH + product.id,
        selection=dg.AssetSelection.all(),
        tags={DATASET: product.id},
        description=f"Publishes partitions of '{product.title.en}', from the source to /processed/.",
    ).resolve(
        AssetGraph.from_assets(assets),
        default_executor_def=dg.in_process_executor,
        resource_defs=wrap_resources_for_execution(resources),
    )
