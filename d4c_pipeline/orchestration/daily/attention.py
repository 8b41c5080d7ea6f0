"""The asset `needs_attention`: everything that waits for a person, as a table with commands and links to launches.

`upkeep.attention` finds it; `d4c todo` prints the same. Concept: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from collections import Counter
from collections.abc import Collection, Sequence

import dagster as dg

from d4c_pipeline.chain.run import STEPS
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.orchestration.daily.schedule import scheduled
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch, review_links
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.attention import Attention, Kind, needs_attention

ATTENTION_KEY = dg.AssetKey(["needs_attention"])
CHECK = "nothing_waits"
_MOST_SHOWN = 200
_LAUNCHES = {
    Kind.LOST: launch("repair_copies_of_releases"),
    Kind.UNREACHABLE: launch("audit_copies"),
    Kind.TOO_FEW: launch("keep_mirrors"),
    Kind.DOI: launch("check_health"),
}


def attention_asset(declared: Collection[Dataset | Family]) -> dg.AssetsDefinition:
    """Return the asset, with a check that warns while anything waits for a person."""

    @dg.asset(
        key=ATTENTION_KEY,
        description="Everything that waits for a person: reviews, failed partitions, shrunken sources, lost copies, "
        "drafts without owner, unregistered DOIs, full disks, expiring tokens. Each has its command and its launch. "
        "Updated every hour.",
        group_name="catalogue",
        check_specs=[
            dg.AssetCheckSpec(
                CHECK, asset=ATTENTION_KEY, description="Nothing waits for a person. A warning has the number."
            )
        ],
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            found = needs_attention(opened, declared)
        table = dg.MetadataValue.md(as_markdown(found[:_MOST_SHOWN]))
        kinds = Counter(each.kind.value for each in found)
        return dg.MaterializeResult(
            metadata={"count": len(found), "table": table},
            check_results=[
                dg.AssetCheckResult(
                    check_name=CHECK,
                    passed=not found,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "Nothing waits",
                    metadata={"count": len(found), "table": table},
                )
            ],
        )

    return asset


def as_markdown(found: Sequence[Attention]) -> str:
    """Return the findings as a Markdown table; "Nothing waits for a person." without any."""
    if not found:
        return "Nothing waits for a person."
    rows = [(each.kind.value, each.subject, each.detail, f"`{each.command}`", _links(each)) for each in found]
    return "\n".join(markdown_table(("what", "where", "detail", "command", "launch"), rows))


def _links(found: Attention) -> str:
    """Return the links to the launches that settle a finding, empty without any."""
    if found.kind is Kind.REVIEW:
        return review_links(found.subject)
    if found.kind is Kind.PAUSED:
        config = {"dataset": found.subject, "decision": "resume"}
        return f"[resume]({launch('pause_source', 'decide_on_source', config)})"
    link = launch_of(found)
    return f"[open]({link})" if link else ""


def launch_of(found: Attention) -> str | None:
    """Return the page of the UI on which a person settles a finding; None if it is settled elsewhere."""
    if found.kind is Kind.REVIEW:
        return launch("review")
    if found.kind is Kind.FAILED and found.partition and found.step in STEPS:
        return f"/assets/{found.dataset}/{found.step}?view=partitions&partition={found.partition}"
    if found.kind is Kind.SHRUNK:
        return f"/assets/{found.dataset}/source"
    return _LAUNCHES.get(found.kind)


ATTENTION_JOB = dg.define_asset_job(
    "list_what_waits",
    selection=dg.AssetSelection.assets(ATTENTION_KEY),
    description="Lists everything that waits for a person.",
)
ATTENTION_SCHEDULE = scheduled(ATTENTION_JOB, "hourly", "10 * * * *", "Every hour at minute 10.")
