"""Verdicts on a build, bound to its very bytes, and the gate that publication passes only without a failure.

A check here looks at what the processing reported; a check that could not run has failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.processed import StagedBuild
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import NeedsPersonError
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.vintage import Vintage

KEYS_IDENTIFY_ROWS = "keys_identify_rows"


@dataclass(frozen=True)
class Verdict:
    """The result of one check: expected, actual and what to do are in `detail`."""

    check: str
    passed: bool
    detail: Mapping[str, Any]


def judge(deployment: Deployment, dataset: Dataset, vintage: Vintage, build: StagedBuild) -> tuple[Verdict, ...]:
    """Judge a build and record the verdicts in the ledger."""
    verdicts = (_keys_identify_rows(build),)
    for verdict in verdicts:
        deployment.ledger.judgements.record_check(
            dataset.id, vintage, build.sha256, verdict.check, "pass" if verdict.passed else "failure", verdict.detail
        )
    return verdicts


def refuse_failed(deployment: Deployment, release: Release) -> None:
    """Raise NeedsPersonError when a check of the release's very bytes failed or none was made."""
    results = deployment.ledger.judgements.checks(release.data.sha256)
    failed = [result.check for result in results if result.verdict == "failure"]
    if failed or not results:
        why = f"check {', '.join(failed)} failed" if failed else "it was never checked"
        raise NeedsPersonError(
            f"{release.name} is not published: {why}",
            "Look at the checks of 'processed', correct the definition or the data, and materialize from there",
        )


def _keys_identify_rows(build: StagedBuild) -> Verdict:
    key = build.summary.key
    if not key:
        return Verdict(KEYS_IDENTIFY_ROWS, True, {"key": [], "note": "no key is declared: rows are compared whole"})
    nulls, duplicates = build.summary.report.get("key_nulls"), build.summary.report.get("key_duplicates")
    return Verdict(
        KEYS_IDENTIFY_ROWS,
        nulls == 0 and duplicates == 0,
        {
            "key": list(key),
            "expected": "no null and no duplicate",
            "nulls": nulls,
            "duplicates": duplicates,
            "remedy": "declare the columns that identify a row under processing.key, or none",
        },
    )
