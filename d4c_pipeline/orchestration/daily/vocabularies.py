"""The daily check of keywords that a vocabulary dropped. `drafting.vocabularies` finds them."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.orchestration.daily.health import HEALTH_KEY
from d4c_pipeline.orchestration.resources import DeploymentResource

CHECK = "keywords_are_current"
_MOST_SHOWN = 200
_SHOWN = ("dataset", "language", "keyword", "vocabulary", "last", "current")


def vocabulary_definitions(datasets: Collection[Dataset]) -> dg.Definitions:
    """The check over all `datasets`."""

    @dg.asset_check(
        asset=HEALTH_KEY,
        name=CHECK,
        description="No keyword of a dataset is a term that the newest imported version of its vocabulary dropped.",
    )
    def check(deployment: DeploymentResource) -> dg.AssetCheckResult:
        from d4c_pipeline.drafting.vocabularies import dropped_keywords  # noqa: PLC0415

        with deployment.opened() as opened:
            found = dropped_keywords(opened.ledger, datasets)
        rows = [dg.TableRecord({name: getattr(each, name) for name in _SHOWN}) for each in found[:_MOST_SHOWN]]
        schema = dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in _SHOWN])
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{len(found)} keywords were dropped" if found else "All keywords are current",
            metadata={
                "expected": "keywords of the newest imported version of their vocabulary",
                "actual": f"{len(found)} keywords were dropped",
                "dropped": len(found),
                "examples": dg.MetadataValue.table(rows, schema=schema),
                "remedy": "Put the current keyword, if there is one, in place of the last in the dataset's YAML"
                if found
                else "none needed",
            },
        )

    return dg.Definitions(asset_checks=[check])
