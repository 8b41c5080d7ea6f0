"""When Dagster runs what by itself: the conditions of the chain's assets, and the sensor that evaluates them.

What makes a source's data version change is `noticing.py`. Concept: https://docs.dagster.io/guides/automate/declarative-automation
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

SOURCE = "source"
"""The asset before `raw`: what the source serves. It is observed, never made."""

# A report that Dagster stores while it looks at an asset for the first time counts as one before that look and as one
# after it: what was asked for then is not asked for again with the second.
_ASKED_AT_FIRST_LOOK = (
    (~dg.AutomationCondition.initial_evaluation()).newly_true() & dg.AutomationCondition.newly_requested()
).with_label("this is Dagster's second look, and it was asked for at the first")
_CHANGED = (
    ~_ASKED_AT_FIRST_LOOK & dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
).with_label("the source was reported to have changed")
# Dagster sees no report that is older than its first look at an asset.
_REPORTED_BEFORE = (
    dg.AutomationCondition.initial_evaluation()
    & dg.AutomationCondition.missing()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
).with_label("it was reported before Dagster looked at it first, and never fetched")
_FOLLOWS = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested()).with_label(
    "the step before it is asked for just now"
)


def condition_of(upstream: str) -> dg.AutomationCondition:
    """Return when the asset downstream of `upstream` is materialized: the first on a change, the others with it.

    All nine go in one run per partition. Nothing is latched here: Dagster keeps its place among the reports, and a
    change is reported once, never while a run of its partition is under way, and again when the chain did not go
    through with it (`noticing.py`).
    """
    return _CHANGED | _REPORTED_BEFORE if upstream == SOURCE else _FOLLOWS


def changes_are_published(groups: Iterable[str]) -> dg.AutomationConditionSensorDefinition:
    """The sensor that turns observed changes of these products into runs; on from the start, as it waits for those."""
    return dg.AutomationConditionSensorDefinition(
        "changes_are_published",
        target=dg.AssetSelection.groups(*groups),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Materializes the chain of whatever the observation sensors saw change. Idle while these are off.",
    )
