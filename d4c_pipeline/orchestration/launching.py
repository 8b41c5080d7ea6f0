"""Links to the pages of the UI on which a person launches a job, with the configuration filled in.

The page `playground/setup` of Dagster's UI takes the configuration as a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import yaml

_JOBS = "/locations/__repository__@d4c_pipeline/jobs"


def launch(job: str, op: str | None = None, config: Mapping[str, Any] | None = None) -> str:
    """Return the path of the page that launches `job`; `config` of its `op` is filled in and can be edited there."""
    if op is None:
        return f"{_JOBS}/{job}/playground"
    text = yaml.safe_dump({"ops": {op: {"config": dict(config or {})}}}, sort_keys=False, allow_unicode=True)
    return f"{_JOBS}/{job}/playground/setup?config={quote(text, safe='')}"


def check_source(dataset: str, *, accept: bool = False) -> str:
    """Return the page that checks a source at once; `accept`: and accepts a listing that shrank."""
    return launch("check_source", "check_source_now", {"dataset": dataset, "accept_shrunken_listing": accept})


def withdrawal_link(release: str) -> str:
    """Return Markdown with the link that withdraws a published release; the reason is added there."""
    config = {"release": release, "decision": "withdraw", "reason": ""}
    return f"[withdraw]({launch('withdraw', 'decide_on_published', config)}), with the reason"


def review_links(release: str) -> str:
    """Return Markdown with the links that approve or reject a planned release; the reason is added there."""
    approve, reject = (review_launch(release, decision) for decision in ("approve", "reject"))
    return f"[approve]({approve}) or [reject]({reject}), with the reason"


def review_launch(release: str, decision: str) -> str:
    """Return the page that approves or rejects (`decision`) a planned release; the reason is added there."""
    return launch("review", "decide", {"release": release, "decision": decision, "reason": ""})
