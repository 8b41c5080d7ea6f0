"""Verdicts of checks on a build, bound to its bytes, and the gate that stops a publication after a failure.

The checks belong to `processing.checks`; this module finds the release to compare with and records the verdicts. A
check that could not run has failed, and a missing check counts as failed.
"""

from __future__ import annotations

from pathlib import Path

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError, NeedsPersonError
from d4c_pipeline.model.release import PlannedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks import previous
from d4c_pipeline.processing.checks.run import checks_of, run_checks
from d4c_pipeline.processing.checks.verdict import Outcome, PreviousFacts, Verdict
from d4c_pipeline.workspace.builds import StagedBuild, read_build
from d4c_pipeline.workspace.current import previous_release
from d4c_pipeline.workspace.deployment import Deployment


def judge(deployment: Deployment, dataset: Dataset, vintage: Vintage, build: StagedBuild) -> tuple[Verdict, ...]:
    """Run all checks that apply to the dataset of a build, and record the verdicts in the ledger.

    A build of the newest release's own bytes is compared with that release. The record keeps the comparison with the
    release before it, which the review and the portal show. Raises BusyError when another process replaced the build in
    staging.
    """
    with deployment.working_on(dataset, vintage):
        if read_build(deployment, dataset, vintage).sha256 != build.sha256:
            raise BusyError(
                f"The build of {dataset.id} {vintage} was replaced before it was checked",
                rerun="processed",
            )
        verdicts = verdicts_of(deployment, dataset, vintage, build, deployment.staging(dataset, vintage) / "checks")
        judgements = deployment.ledger.judgements
        newest = previous_release(deployment, dataset, vintage)
        kept = (
            {result.check for result in judgements.checks(build.sha256)} & previous.NAMES
            if newest is not None and newest.data_sha256 == build.sha256
            else frozenset[str]()
        )
        for verdict in verdicts:
            if verdict.check in kept:
                continue
            judgements.record_check(
                dataset.id, vintage, build.sha256, verdict.check, verdict.outcome.word, verdict.detail
            )
    return verdicts


def verdicts_of(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, build: StagedBuild, work: Path
) -> tuple[Verdict, ...]:
    """Run all checks that apply to the dataset of a build, and record nothing. `work`: a folder for temporary files."""
    return run_checks(
        build.paths,
        build.profile,
        build.summary,
        dataset,
        vintage,
        _previous(deployment, dataset, vintage),
        work=work,
        threads=deployment.settings.threads,
        memory_limit=deployment.settings.memory_limit,
        temp=deployment.settings.temp,
    )


def overridden(deployment: Deployment, data_sha256: str) -> dict[str, str]:
    """Return the overridden checks of data with that checksum, each with the reviewer and the reason."""
    found = deployment.ledger.judgements.overrides(data_sha256)
    return {override.check: f"{override.who}: {override.reason}" for override in found}


def refuse_failed(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> None:
    """Raise NeedsPersonError when a check of the release's bytes failed without an override, or never ran.

    The current declaration of the dataset determines the required checks.
    """
    passed = overridden(deployment, release.data_sha256)
    results = {result.check: result for result in deployment.ledger.judgements.checks(release.data_sha256)}
    due = [check.name for check in checks_of(dataset)]
    failed = [
        f"{name}: {results[name].detail.get('actual', '')}"
        for name in due
        if name in results and results[name].verdict == Outcome.FAILURE.word and name not in passed
    ]
    missing = [name for name in due if name not in results]
    if failed or missing:
        why = [f"check failed ({each})" for each in failed]
        why += [f"never checked for {', '.join(missing)}"] if missing else []
        raise NeedsPersonError(
            f"{release.name} is not published: {'; '.join(why)}",
            "Correct the definition or the data, or override a check that may fail on this very data with 'd4c review "
            "override'",
            rerun="processed",
        )


def _previous(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> PreviousFacts | None:
    newest = previous_release(deployment, dataset, vintage)
    return PreviousFacts.of(newest.name, newest.summary) if newest is not None else None
