"""Subsets of published releases: rows in an area, by a filter, some columns, in another CRS or format.

`request` reads what a client asks for, `releases` finds the release, `source` reads the footers of its files, `area`
brings the area into their CRS, `plan` joins these and estimates the cost, `rows` reads the rows, `formats` writes them.
All problems of a request are found by `plan`, before the first byte of an answer. Addresses belong to `protocols`.
"""

from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.formats import stream, write
from d4c_pipeline.services.subset.plan import Plan, plan
from d4c_pipeline.services.subset.releases import Chosen, chosen_release
from d4c_pipeline.services.subset.request import FORMATS, Format, SubsetRequest, read_request
from d4c_pipeline.services.subset.rows import Block, blocks
from d4c_pipeline.services.subset.source import Source, Sources, Statistics

__all__ = [
    "FORMATS",
    "Block",
    "Chosen",
    "Engine",
    "Format",
    "Plan",
    "Source",
    "Sources",
    "Statistics",
    "SubsetRequest",
    "blocks",
    "chosen_release",
    "plan",
    "read_request",
    "stream",
    "write",
]
