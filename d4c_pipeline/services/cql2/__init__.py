"""Filters in CQL2, text or JSON, as parameterised SQL for DuckDB: listed operators over listed columns.

`condition` is the entry point. The package `cql2` parses text; its `to_sql` is never used, since it passes functions
through. NULL is three-valued as in SQL: a row is found when the filter is true, so `NOT (a = 1)` does not find a row
without `a`; `a IS NULL` does. Source: https://docs.ogc.org/is/21-065r2/21-065r2.html
"""

from d4c_pipeline.services.cql2.columns import Column, Kind, column_of, queryables
from d4c_pipeline.services.cql2.compiling import CONFORMANCE, Condition, condition
from d4c_pipeline.services.cql2.limits import Limits

__all__ = ["CONFORMANCE", "Column", "Condition", "Kind", "Limits", "column_of", "condition", "queryables"]
