"""Partitions: the unit that is noticed, published and recovered on its own.

Which dataset and vintage a partition stands for belongs to whoever declares it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Partition:
    """A vintage of the dataset `subject`, or a member of the family `subject`; `key` is Dagster's partition key.

    The key is empty for what is about the subject as a whole.
    """

    subject: str
    key: str

    def __str__(self) -> str:
        return f"{self.subject} {self.key}".rstrip()
