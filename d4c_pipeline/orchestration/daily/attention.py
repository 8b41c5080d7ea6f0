"""The asset `needs_attention`: everything that waits for a person, as a table with commands and links to launches.

`upkeep.attention` finds it; `d4c todo` prints the same. Concept: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from collections import Counter
from collections.abc import Collection, Sequence
from urllib.parse import quote

import dagster as dg

from d4c_pipeline.chain.run import STEPS
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.orchestration.daily.schedule import scheduled
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import check_source, launch, review_links
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.attention import Attention, Kind, needs_attention
from d4c_pipeline.watch.failures import DISCOVER, OBSERVE

ATTENTION_KEY = dg.AssetKey(["needs_attention"])
CHECK = "nothing_waits"
_MOST_SHOWN = 200
_LAUNCHES = {
    Kind.LOST: launch("repair_copies_of_releases"),
    Kind.UNREACHABLE: launch("audit_copies"),
    Kind.DOI: launch("check_health"),
}
_BY_COMMAND = {
    "d4c repair": launch("repair_copies_of_releases"),
    "d4c verify": launch("audit_copies"),
    "d4c prune": launch("keep_mirrors"),
}
"""The launches that do the same as a command; `d4c repair` and `d4c verify` are followed by a dataset."""


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
        # The UI shows a table at once, without links; Markdown of this length by a click, with them.
        shown = {
            "count": len(found),
            **({"what waits": as_table(found[:_MOST_SHOWN])} if found else {}),
            "with links": dg.MetadataValue.md(as_markdown(found[:_MOST_SHOWN])),
        }
        kinds = Counter(each.kind.value for each in found)
        return dg.MaterializeResult(
            metadata=shown,
            check_results=[
                dg.AssetCheckResult(
                    check_name=CHECK,
                    passed=not found,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "Nothing waits",
                    metadata=shown,
                )
            ],
        )

    return asset


def as_table(found: Sequence[Attention]) -> dg.TableMetadataValue:
    """Return the findings as a table: what waits, where, the detail with its remedy, and the command."""
    columns = ("what", "where", "detail", "command")
    rows = [
        (each.kind.value, each.subject, ". ".join(filter(None, (each.detail, each.remedy))), each.command)
        for each in found
    ]
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in columns]),
    )


def as_markdown(found: Sequence[Attention]) -> str:
    """Return the findings as a Markdown table; "Nothing waits for a person." without any."""
    if not found:
        return "Nothing waits for a person."
    rows = [(each.kind.value, _links(each), each.subject, each.detail, f"`{each.command}`") for each in found]
    return "\n".join(markdown_table(("what", "what to do", "where", "detail", "command"), rows))


def _links(found: Attention) -> str:
    """Return the links to the launches that settle a finding, empty without any."""
    if found.kind is Kind.REVIEW:
        return review_links(found.subject)
    link, label = launch_of(found), _LABELS.get(found.kind, "open")
    return ". ".join(filter(None, (f"[{label}]({link})" if link else "", found.remedy)))


_LABELS = {Kind.PAUSED: "resume", Kind.SHRUNK: "accept the listing", Kind.OVERDUE: "check now"}


def launch_of(found: Attention) -> str | None:
    """Return the page of the UI on which a person settles a finding; None if it is settled elsewhere.

    Whatever it is, `Attention.remedy` then says what to do.
    """
    match found.kind:
        case Kind.REVIEW:
            return launch("review", "decide", {"release": found.subject, "decision": "approve", "reason": ""})
        case Kind.PAUSED:
            return launch("pause_source", "decide_on_source", {"dataset": found.subject, "decision": "resume"})
        case Kind.SUBMISSION if not found.remedy:
            number = int(found.subject.rpartition(" ")[2])
            return launch(
                "decide_submission", "decide_on_submission", {"submission": number, "decision": "accept", "reason": ""}
            )
        case Kind.OVERDUE:
            return check_source(found.dataset)
        case Kind.SHRUNK:
            return None if found.remedy else check_source(found.dataset, accept=True)
        case Kind.FAILED | Kind.HANGING if found.partition and found.step in STEPS:
            return f"/assets/{found.dataset}/{found.step}?view=partitions&partition={quote(found.partition)}"
        case Kind.FAILED if found.step in (DISCOVER, OBSERVE):
            return check_source(found.dataset)
        case Kind.CHECK:
            path = "/".join(dict.fromkeys((found.dataset, found.step)))
            return f"/assets/{path}?view=checks&checkDetail={found.check}"
        case Kind.RUN:
            return f"/runs/{found.run}"
        case Kind.TOO_FEW:
            return _BY_COMMAND[" ".join(found.command.split()[:2])]
        case _:
            return _LAUNCHES.get(found.kind)


ATTENTION_JOB = dg.define_asset_job(
    "list_what_waits",
    selection=dg.AssetSelection.assets(ATTENTION_KEY),
    description="Lists everything that waits for a person.",
)
ATTENTION_SCHEDULE = scheduled(ATTENTION_JOB, "hourly", "10 * * * *", "Every hour at minute 10.")
