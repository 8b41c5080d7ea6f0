"""Automation: the conditions of the chain's assets, and the sensor that evaluates them.

`noticing.py` reports the data versions of sources. Concept: https://docs.dagster.io/guides/automate/declarative-automation
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

SOURCE = "source"
"""The step of the observed asset upstream of `raw`: the source."""

# An observation stored during Dagster's first evaluation of an asset counts in that evaluation and in the second: the
# second must not request the same run again.
_REQUESTED_AT_FIRST_TICK = (
    (~dg.AutomationCondition.initial_evaluation()).newly_true() & dg.AutomationCondition.newly_requested()
).with_label("second evaluation of a run requested at the first")
_CHANGED = (
    ~_REQUESTED_AT_FIRST_TICK & dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
).with_label("source changed")
# Dagster ignores observations older than its first evaluation of an asset.
_REPORTED_BEFORE = (
    dg.AutomationCondition.initial_evaluation()
    & dg.AutomationCondition.missing()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
).with_label("source observed before the first evaluation, never fetched")
_FOLLOWS = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested()).with_label(
    "upstream step requested"
)


def condition_of(upstream: str) -> dg.AutomationCondition:
    """Return the condition of the asset downstream of `upstream`: `raw` follows a change, the others follow `raw`.

    All nine run in one run per partition. The condition has no latch: Dagster keeps a cursor, and `noticing.py` reports
    a change once, never during a run of its partition, and again if the run failed.
    """
    return _CHANGED | _REPORTED_BEFORE if upstream == SOURCE else _FOLLOWS


def changes_are_published(groups: Iterable[str]) -> dg.AutomationConditionSensorDefinition:
    """The sensor that requests runs for observed changes of these products; started by default."""
    return dg.AutomationConditionSensorDefinition(
        "changes_are_published",
        target=dg.AssetSelection.groups(*groups),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Materializes the chain of partitions with a changed source. Idle without observation sensors.",
    )
