"""The asset `fixity` and its checks: once a day, an audit of all copies and the repair of lost copies.

An asset rather than a check of `copies`, so that a publication never waits for an audit of everything. The audit
belongs to `upkeep.fixity`, repair to `upkeep.repair`.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyKind, FixityPolicy, Verification
from d4c_pipeline.orchestration.daily.schedule import daily
from d4c_pipeline.orchestration.failures import as_dagster_failure
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.metadata import of_findings
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.workspace.deployment import Deployment

if TYPE_CHECKING:
    from d4c_pipeline.upkeep.fixity import Audit
    from d4c_pipeline.upkeep.repair import RepairResult

FIXITY_KEY = dg.AssetKey(["fixity"])
COPIES_INTACT = "copies_intact"
ARCHIVE_INTACT = "archive_intact"
WEB_SEEDS_SERVE = "web_seeds_serve"
ENOUGH_COPIES = "enough_copies"
AUDIT_COMPLETE = "audit_complete"
_JOB_NAME = "audit_copies"
_CHECKS = {
    COPIES_INTACT: "Every copy in a store has the published bytes. A restored copy is a warning, a lost copy an error.",
    ARCHIVE_INTACT: "The archive has every file of every published record, by its own checksums.",
    WEB_SEEDS_SERVE: "Every web seed serves the right bytes of the sampled pieces.",
    ENOUGH_COPIES: "Every release has the number of copies that its dataset or the deployment requires.",
    AUDIT_COMPLETE: "Every store, archive and web seed is reachable, and no copy is overdue for a read.",
}


def fixity_asset(declared: Sequence[Dataset | Family]) -> dg.AssetsDefinition:
    """Return the asset of the audit; `declared`: datasets and families, which may each require a number of copies."""

    @dg.asset(
        key=FIXITY_KEY,
        description="Verifies every published copy: stores, archive, web seeds. Restores lost copies in stores.",
        group_name="catalogue",
        config_schema={
            "full": dg.Field(bool, default_value=False, description="Read every copy, including those read recently.")
        },
        check_specs=[
            dg.AssetCheckSpec(name, asset=FIXITY_KEY, description=description) for name, description in _CHECKS.items()
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from d4c_pipeline.upkeep.fixity import audit  # noqa: PLC0415
        from d4c_pipeline.upkeep.repair import repair  # noqa: PLC0415

        op = context.op_execution_context
        with as_dagster_failure(retries=deployment.retries, attempt=op.retry_number + 1), deployment.opened() as opened:
            found = audit(opened, FixityPolicy.of(opened.settings), full=op.op_config["full"])
            repairs = repair(opened)
            results = _results(opened, declared, found, repairs)
        yield from results

    return asset


def _results(
    deployment: Deployment, declared: Sequence[Dataset | Family], found: "Audit", repairs: "Sequence[RepairResult]"
) -> list[dg.MaterializeResult | dg.AssetCheckResult]:
    from d4c_pipeline.upkeep.coverage import shortfalls  # noqa: PLC0415
    from d4c_pipeline.upkeep.repair import Outcome  # noqa: PLC0415

    restored = [result for result in repairs if result.outcome is Outcome.RESTORED]
    left = [result for result in repairs if result.outcome not in (Outcome.RESTORED, Outcome.INTACT)]
    archived = [finding for finding in found.lost if finding.copy.kind is CopyKind.ARCHIVE]
    seeds = [finding for finding in found.lost if finding.copy.kind is CopyKind.WEB_SEED]
    short = shortfalls(deployment, declared)
    incomplete = [f"{place} was skipped: {why}" for place, why in found.refused.items()]
    incomplete += [f"{finding.copy}: {finding.detail}" for finding in found.unreachable]
    incomplete += [f"{copy}: another process works on its vintage" for copy in found.busy]
    if found.overdue:
        incomplete.append(f"{found.overdue} copies are overdue for a read; the day's budget is used up")
    return [
        dg.MaterializeResult(
            metadata={
                "copies": found.expected,
                "checked": found.checked,
                "read_in_full": found.read,
                "bytes_read": found.read_bytes,
                "lost": len(found.lost),
                "restored": len(restored),
                "unrepaired": len(left),
            }
        ),
        _check(
            COPIES_INTACT,
            [*(_repair_line(result) for result in left), *(_repair_line(result) for result in restored)],
            dg.AssetCheckSeverity.ERROR if left else dg.AssetCheckSeverity.WARN,
            expected="every copy in a store with the published bytes",
            actual=f"{len(restored) + len(left)} lost, {len(restored)} restored, {len(left)} not",
            remedy="Restore the file from elsewhere or fix the cause, then run 'd4c repair'; 'raw' fetches a native "
            "file again. Damaged files are in the store's quarantine"
            if left
            else "Check the disks that lost them; damaged files are in the store's quarantine",
        ),
        _check(
            ARCHIVE_INTACT,
            [_sentence(finding) for finding in archived],
            dg.AssetCheckSeverity.ERROR,
            expected="the files of every published record, by name, size and checksum",
            actual=f"{len(archived)} files differ or are missing",
            remedy="Contact the archive's managers: only they can change a published record",
        ),
        _check(
            WEB_SEEDS_SERVE,
            [_sentence(finding) for finding in seeds],
            dg.AssetCheckSeverity.WARN,
            expected="the right bytes for every sampled piece",
            actual=f"{len(seeds)} web seeds serve other bytes",
            remedy="Fix that server, or reissue the torrents without it",
        ),
        _check(
            ENOUGH_COPIES,
            [str(result) for result in short],
            dg.AssetCheckSeverity.WARN,
            expected="the required number of copies (D4C_COPIES, or publication.copies in the YAML)",
            actual=f"{len(short)} releases have fewer",
            remedy="Configure another store, which 'd4c prune' fills, or require fewer copies",
        ),
        _check(
            AUDIT_COMPLETE,
            incomplete,
            dg.AssetCheckSeverity.WARN,
            expected="every place is reachable, every copy is read once per cycle",
            actual=f"{len(incomplete)} exceptions",
            remedy="Restore the connection; 'd4c repair --refill STORE' fills an emptied store; raise D4C_FIXITY_BYTES "
            "or D4C_FIXITY_DAYS for overdue reads",
        ),
    ]


def _check(
    name: str, findings: Sequence[str], severity: dg.AssetCheckSeverity, *, expected: str, actual: str, remedy: str
) -> dg.AssetCheckResult:
    job = _LAUNCHES.get(name, _JOB_NAME)
    return dg.AssetCheckResult(
        check_name=name,
        passed=not findings,
        severity=severity,
        metadata=of_findings(findings, expected=expected, actual=actual, remedy=remedy, launch=launch(job)),
    )


_LAUNCHES = {
    COPIES_INTACT: "repair_copies_of_releases",
    WEB_SEEDS_SERVE: "check_health",
    ENOUGH_COPIES: "keep_mirrors",
}
"""The job that helps after a check failed; after the others, the next audit shows whether the remedy did."""


def _repair_line(result: "RepairResult") -> str:
    from d4c_pipeline.upkeep.repair import Outcome  # noqa: PLC0415

    aside = f", the damaged bytes moved to {result.quarantine}" if result.quarantine else ""
    if result.outcome is Outcome.RESTORED:
        return f"{result.copy}: restored from {result.source}{aside}"
    return f"{result.copy}: {result.outcome.value}{aside}; {result.reason}"


def _sentence(finding: Verification) -> str:
    return f"{finding.copy}: {finding.state.value}, {finding.detail}"


FIXITY_JOB = dg.define_asset_job(
    _JOB_NAME,
    selection=dg.AssetSelection.assets(FIXITY_KEY),
    description="Verifies every published copy and restores lost ones.",
)
FIXITY_SCHEDULE = daily(FIXITY_JOB, "40 2 * * *", "Daily at 02:40 UTC.")
