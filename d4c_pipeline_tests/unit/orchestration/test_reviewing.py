"""What the job `review` reports about an approved release."""

import dagster as dg

from d4c_pipeline.orchestration.metadata import examples_table
from d4c_pipeline.orchestration.reviewing import _event


def test_a_check_of_an_approved_release_keeps_its_table_and_its_link() -> None:
    result = dg.AssetCheckResult(
        check_name="every_store",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "examples": examples_table([{"mirror": "attic"}]),
            "launch": dg.MetadataValue.md("[open](/launch)"),
            "findings": 1,
        },
    )
    event = _event(result, dg.AssetKey(["tiny", "copies"]), "2026-07-28", approved_by="ana")
    assert isinstance(event, dg.AssetCheckEvaluation)
    assert event.metadata["examples"] == examples_table([{"mirror": "attic"}])
    assert event.metadata["launch"] == dg.MetadataValue.md("[open](/launch)")
    assert event.metadata["findings"] == dg.MetadataValue.int(1)
    assert event.metadata["approved_by"] == dg.MetadataValue.text("ana")
    assert event.partition == "2026-07-28"
