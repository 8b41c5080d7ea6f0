"""Once a day: an audit of all copies, the mending of what was lost, and what was found as an asset with its checks.

An asset of its own, and no check of `copies`: whoever publishes a vintage does not want to wait for an audit of
everything. What is looked at, and how it is mended, belongs to `upkeep.fixity` and `upkeep.repair`.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyKind, FixityPolicy, Verification
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.coverage import shortfalls
from d4c_pipeline.upkeep.fixity import Audit, audit
from d4c_pipeline.upkeep.repair import Outcome, RepairResult, repair
from d4c_pipeline.workspace.deployment import Deployment

FIXITY_KEY = dg.AssetKey(["fixity"])
COPIES_INTACT = "copies_intact"
ARCHIVE_INTACT = "archive_intact"
WEB_SEEDS_SERVE = "web_seeds_serve"
ENOUGH_COPIES = "enough_copies"
AUDIT_COMPLETE = "audit_complete"
_JOB_NAME = "audit_copies"
_EXAMPLES = 10
_GOOD = (Outcome.RESTORED, Outcome.INTACT)
_CHECKS = {
    COPIES_INTACT: "Every copy in a store has the bytes that were published. What was lost and put back warns, what "
    "could not be put back fails.",
    ARCHIVE_INTACT: "The archive has every file of every published record, by its own checksums.",
    WEB_SEEDS_SERVE: "Every web seed serves the right bytes of the pieces that were tried.",
    ENOUGH_COPIES: "Every release lies whole in as many places as its dataset or the deployment wants.",
    AUDIT_COMPLETE: "Every place could be asked, and every copy was read as often as it should be.",
}


def fixity_asset(declared: Sequence[Dataset | Family]) -> dg.AssetsDefinition:
    """The audit as an asset; `declared`: datasets and families, which may each want a number of copies."""

    @dg.asset(
        key=FIXITY_KEY,
        description="Looks at all copies of what is published, puts back what was lost, and tells what it could not.",
        group_name="catalogue",
        config_schema={
            "full": dg.Field(bool, default_value=False, description="Read every copy, whatever was read lately.")
        },
        check_specs=[
            dg.AssetCheckSpec(name, asset=FIXITY_KEY, description=description) for name, description in _CHECKS.items()
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        op = context.op_execution_context
        with as_dagster_failure(retries=deployment.retries, attempt=op.retry_number + 1), deployment.opened() as opened:
            found = audit(opened, FixityPolicy.of(opened.settings), full=op.op_config["full"])
            repairs = repair(opened)
            results = _results(opened, declared, found, repairs)
        yield from results

    return asset


def _results(
    deployment: Deployment, declared: Sequence[Dataset | Family], found: Audit, repairs: Sequence[RepairResult]
) -> list[dg.MaterializeResult | dg.AssetCheckResult]:
    restored = [one for one in repairs if one.outcome is Outcome.RESTORED]
    left = [one for one in repairs if one.outcome not in _GOOD]
    archived = [finding for finding in found.lost if finding.copy.kind is CopyKind.ARCHIVE]
    seeds = [finding for finding in found.lost if finding.copy.kind is CopyKind.WEB_SEED]
    short = shortfalls(deployment, declared)
    unasked = [f"{place} was left alone: {why}" for place, why in found.refused.items()]
    unasked += [f"{finding.copy}: {finding.detail}" for finding in found.unreachable]
    unasked += [f"{copy}: others work on its vintage" for copy in found.busy]
    if found.overdue:
        unasked.append(f"{found.overdue} copies should have been read by now; the day's budget was used up")
    return [
        dg.MaterializeResult(
            metadata={
                "copies": found.expected,
                "looked_at": found.checked,
                "read_in_full": found.read,
                "bytes_read": found.read_bytes,
                "lost": len(found.lost),
                "restored": len(restored),
                "left": len(left),
            }
        ),
        _check(
            COPIES_INTACT,
            [*(_repair_line(one) for one in left), *(_repair_line(one) for one in restored)],
            dg.AssetCheckSeverity.ERROR if left else dg.AssetCheckSeverity.WARN,
            expected="every copy in a store with the bytes that were published",
            actual=f"{len(restored) + len(left)} lost, {len(restored)} put back, {len(left)} not",
            remedy="Bring the file back from elsewhere or see to what hindered it, then 'd4c repair'; 'raw' fetches a "
            "native file again. What was damaged lies in the store's quarantine"
            if left
            else "Look at the disks that lost them; what was damaged lies in the store's quarantine",
        ),
        _check(
            ARCHIVE_INTACT,
            [_sentence(finding) for finding in archived],
            dg.AssetCheckSeverity.ERROR,
            expected="the files of every published record, by name, size and checksum",
            actual=f"{len(archived)} files differ or are missing",
            remedy="Ask the archive's managers: a published record is not ours to change",
        ),
        _check(
            WEB_SEEDS_SERVE,
            [_sentence(finding) for finding in seeds],
            dg.AssetCheckSeverity.WARN,
            expected="the right bytes for every piece that was asked for",
            actual=f"{len(seeds)} web seeds do not serve them",
            remedy="See to that server, or re-issue the torrents without it",
        ),
        _check(
            ENOUGH_COPIES,
            [str(one) for one in short],
            dg.AssetCheckSeverity.WARN,
            expected="as many places as wanted (D4C_COPIES, or publication.copies in the YAML)",
            actual=f"{len(short)} releases lie in fewer",
            remedy="Configure another store and materialize 'copies', or want fewer places",
        ),
        _check(
            AUDIT_COMPLETE,
            unasked,
            dg.AssetCheckSeverity.WARN,
            expected="every place answers, every copy is read once per cycle",
            actual=f"{len(unasked)} exceptions",
            remedy="See that the places can be reached; an emptied store is filled by 'd4c repair --refill STORE'; for "
            "more reading raise D4C_FIXITY_BYTES or D4C_FIXITY_DAYS",
        ),
    ]


def _check(
    name: str, findings: Sequence[str], severity: dg.AssetCheckSeverity, *, expected: str, actual: str, remedy: str
) -> dg.AssetCheckResult:
    examples = "\n".join(f"- {finding}" for finding in findings[:_EXAMPLES])
    return dg.AssetCheckResult(
        check_name=name,
        passed=not findings,
        severity=severity,
        metadata={
            "expected": expected,
            "actual": actual,
            "examples": dg.MetadataValue.md(examples or "none"),
            "remedy": remedy if findings else "none needed",
        },
    )


def _repair_line(one: RepairResult) -> str:
    aside = f", the damaged bytes moved to {one.quarantine}" if one.quarantine else ""
    if one.outcome is Outcome.RESTORED:
        return f"{one.copy}: restored from {one.source}{aside}"
    return f"{one.copy}: {one.outcome.value}{aside}; {one.reason}"


def _sentence(finding: Verification) -> str:
    return f"{finding.copy}: {finding.state.value}, {finding.detail}"


FIXITY_JOB = dg.define_asset_job(
    _JOB_NAME,
    selection=dg.AssetSelection.assets(FIXITY_KEY),
    description="Audits all copies and puts back what was lost.",
)
FIXITY_SCHEDULE = daily(FIXITY_JOB, "40 2 * * *", "Every night.")
