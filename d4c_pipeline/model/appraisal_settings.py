"""The settings of appraisal: which policy applies and which repositories are named to submitters who are declined."""

from __future__ import annotations

from d4c_pipeline.model.environment import EnvironmentSettings, OptionalPath, variable


class AppraisalSettings(EnvironmentSettings):
    """How submissions are appraised."""

    policy: OptionalPath = variable(
        "D4C_APPRAISAL_POLICY",
        "File of the appraisal policy.",
        unset="the policy of the package, see docs/appraisal.md",
    )
    alternatives: OptionalPath = variable(
        "D4C_APPRAISAL_ALTERNATIVES",
        "File with the repositories that are named to submitters who are declined.",
        unset="the list of the package",
    )
