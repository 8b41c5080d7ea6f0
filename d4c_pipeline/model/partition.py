"""Partitions: the unit that is observed, published and recovered separately.

Mapping a partition to a dataset and vintage belongs to the module that declares it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Partition:
    """A vintage of the dataset `subject`, or a member of the family `subject`; `key` is Dagster's partition key.

    The key is empty for facts about the complete subject.
    """

    subject: str
    key: str

    def __str__(self) -> str:
        return f"{self.subject} {self.key}".rstrip()
