"""Submissions for tests: one that is complete, and changes of it."""

from __future__ import annotations

from typing import Any

from d4c_pipeline.appraisal.policy import policy_of
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.submission import Submission

VERSION = policy_of(AppraisalSettings()).version


def document(**changes: Any) -> dict[str, Any]:
    """The document of a submission; a change to None leaves its field out."""
    complete: dict[str, Any] = {
        "submitter": {"name": "Ana Roy", "email": "ana@example.ca"},
        "title": "Street trees of Example",
        "description": "Position and species of every street tree.",
        "licence": "ogl-canada-2.0",
        "sources": ["https://data.example.ca/trees.csv"],
        "bounds": [-75.9, 45.2, -75.4, 45.5],
        "size": 12_000_000,
        "frequency": "P1Y",
        "reason": "Tree cover is used in heat maps.",
        "terms": VERSION,
    }
    return {name: value for name, value in {**complete, **changes}.items() if value is not None}


def submission(**changes: Any) -> Submission:
    """A submission."""
    return Submission.model_validate(document(**changes))
