"""The check of each geometry: valid, and within the declared extent.

`conformance` checks the metadata of the geometry.
"""

from __future__ import annotations

from typing import Any

from d4c_pipeline.processing.checks.verdict import MOST_EXAMPLES, Built, Outcome, Verdict


def geometry_valid(name: str, built: Built) -> Verdict:
    """Every geometry can be read, is valid, not empty, and lies within the declared extent.

    Areas with a part within another part, which cleaning unites, give a warning.
    """
    found, extent = built.features, built.dataset.extent
    allowed = built.dataset.checks.invalid_allowed
    nested = built.summary.report.get("nested_parts", 0)
    outcome = max(
        Outcome.WARNING if nested else Outcome.PASS,
        Outcome.beyond(found.invalid.count, warning=0, failure=allowed),
        Outcome.FAILURE if found.unreadable.count or found.empty.count or found.outside.count else Outcome.PASS,
    )
    faults = {
        "unreadable": found.unreadable,
        "empty": found.empty,
        "invalid": found.invalid,
        "outside the extent": found.outside,
    }
    examples: list[dict[str, Any]] = [
        {**example, "fault": fault} for fault, finding in faults.items() for example in finding.examples
    ]
    counted = ", ".join(f"{finding.count} {fault}" for fault, finding in faults.items() if finding.count)
    if nested:
        counted += f"{', ' if counted else ''}{nested} with a part within another part, now united"
    remedies = {
        "unreadable": "report this bug",
        "empty": "report this bug",
        "invalid": "correct the source or set checks.invalid_allowed",
        "outside the extent": "declare the right processing.crs or extent",
    }
    where = f", all within {', '.join(f'{side:.6g}' for side in extent.bounds)}" if extent is not None else ""
    remedy = "; ".join(remedies[fault] for fault, finding in faults.items() if finding.count)
    if nested:
        remedy += f"{'; ' if remedy else ''}confirm with the publisher whether such a part is a hole"
    return Verdict(
        name,
        outcome,
        f"valid geometries or nulls{where}" + (f"; {allowed} known to be invalid" if allowed else ""),
        f"{found.rows - found.nulls} geometries and {found.nulls} nulls, {counted or 'no faults'}",
        examples[:MOST_EXAMPLES],
        remedy[:1].upper() + remedy[1:],
    )
