"""Drafts of declarations: what an address, its metadata and its data say about a dataset, each statement with evidence.

A draft states nothing that no source states: an unknown field is a mark of `model.gaps`. Fetching belongs to `sources`,
reading data to `readers` and `processing`, deciding on a submission to other rooms.
"""

from d4c_pipeline.drafting.draft import Draft, Field
from d4c_pipeline.drafting.drafting import draft

__all__ = ["Draft", "Field", "draft"]
