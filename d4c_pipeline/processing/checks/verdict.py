"""The verdict of a check, and the facts of a build that checks read.

The checks belong to the other modules of this package; `run` lists them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import DataSummary
from d4c_pipeline.model.vintage import Vintage

if TYPE_CHECKING:
    import duckdb

    from d4c_pipeline.processing.checks.attributes import Attributes
    from d4c_pipeline.processing.checks.features import Features

MOST_EXAMPLES = 5


class Outcome(IntEnum):
    """The outcome of a check, ordered by severity: several combine to the greatest. FAILURE stops publication."""

    PASS = 0
    WARNING = 1
    FAILURE = 2

    @property
    def word(self) -> str:
        """The outcome in the ledger: `pass`, `warning` or `failure`."""
        return self.name.lower()

    @classmethod
    def beyond(cls, value: float, *, warning: float, failure: float) -> Outcome:
        """Return FAILURE above `failure`, WARNING above `warning`, else PASS."""
        return cls.FAILURE if value > failure else cls.WARNING if value > warning else cls.PASS


@dataclass(frozen=True)
class Verdict:
    """The result of one check: expected and actual state, a few rows or values as examples, and the remedy.

    `examples` are JSON-ready. `remedy` is empty when no action is needed.
    """

    check: str
    outcome: Outcome
    expected: str
    actual: str
    examples: Sequence[Mapping[str, Any]] = ()
    remedy: str = ""

    @property
    def detail(self) -> dict[str, Any]:
        """Everything but name and outcome, ready for JSON."""
        return {
            "expected": self.expected,
            "actual": self.actual,
            **({"examples": [dict(example) for example in self.examples]} if self.examples else {}),
            **({"remedy": self.remedy} if self.remedy else {}),
        }


@dataclass(frozen=True)
class PreviousFacts:
    """The release to compare with: its written name, rows, bounds (west, south, east, north in degrees, or None)."""

    release: str
    rows: int
    bounds: tuple[float, float, float, float] | None

    @classmethod
    def of(cls, release: str, summary: DataSummary) -> PreviousFacts:
        """Return the facts of a release from its summary."""
        return cls(release, summary.rows, summary.bounds)


@dataclass(frozen=True)
class Built:
    """The facts of a build that checks read: its files and summary, the declaration, the previous release.

    `files` are the parts of one table. `work`: an existing folder for data that exceeds memory. Each pass over the
    files runs when a check first needs it, and at most once.
    """

    files: tuple[Path, ...]
    profile: Path
    summary: DataSummary
    dataset: Dataset
    vintage: Vintage
    previous: PreviousFacts | None
    work: Path
    threads: int | None = None
    memory_limit: str | None = None

    @cached_property
    def features_of_files(self) -> tuple[Features, ...]:
        """The findings of one pass over the geometry of each file."""
        from d4c_pipeline.processing.checks.features import Features  # noqa: PLC0415 - tables do not need GEOS

        return tuple(
            Features.read(file, self.summary.key, self.dataset.extent, threads=self.threads) for file in self.files
        )

    @cached_property
    def features(self) -> Features:
        """The findings of all files together."""
        from d4c_pipeline.processing.checks.features import Features  # noqa: PLC0415

        found = Features()
        for each in self.features_of_files:
            found.add(each)
        return found

    @cached_property
    def attributes(self) -> Attributes:
        """The findings of one pass over all columns but the geometry."""
        from d4c_pipeline.processing.checks.attributes import Attributes  # noqa: PLC0415

        return Attributes.read(self.files, threads=self.threads)

    @contextmanager
    def duckdb(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Open DuckDB with the data as the view `data`, in bounded memory; its errors become D4CErrors."""
        import duckdb  # noqa: PLC0415

        from d4c_pipeline.tables import duckdb_engine  # noqa: PLC0415
        from d4c_pipeline.tables.parallel import memory_bytes  # noqa: PLC0415

        limit = f"{memory_bytes(self.memory_limit)}B"
        with duckdb_engine.connect(threads=self.threads, memory_limit=limit, spill=self.work) as connection:
            try:
                connection.execute(f"CREATE VIEW data AS SELECT * FROM {duckdb_engine.parquet(self.files)}")
                yield connection
            except duckdb.Error as error:
                raise duckdb_engine.explained(error, f"Checking {self.files[0].name}") from error
