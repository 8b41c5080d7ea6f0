"""Changes as data: one Parquet file with every row that an earlier and a later state of a dataset have differently.

`find` writes it, `apply` makes the later files out of the earlier ones and it, byte for byte. `recipe` is what the
writer needs besides rows; it lies in the footer of the file of changes. Which states are compared, and what a version
follows from, belongs to `chain`. docs/changes.md describes the file for readers.
"""

from d4c_pipeline.processing.changes.apply import Applied, apply
from d4c_pipeline.processing.changes.find import Found, find
from d4c_pipeline.processing.changes.recipe import Recipe

__all__ = ["Applied", "Found", "Recipe", "apply", "find"]
