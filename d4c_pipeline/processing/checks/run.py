"""Lists the checks, selects those that apply to a dataset, and runs them: each check gives one verdict.

A check that raises an error has failed. The checks belong to the other modules of this package.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from d4c_pipeline.files.scratch import workspace
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.model.release import SAMPLE, DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks.verdict import Built, Outcome, PreviousFacts, Verdict


@dataclass(frozen=True)
class Check:
    """A check: its name, also the name of its function in `module`, its description, and the datasets it applies to.

    `needs_all`: its verdict on a sample of the rows means nothing.
    """

    name: str
    module: str
    description: str
    applies: Callable[[Dataset], bool] = lambda _: True
    needs_all: bool = False

    def run(self, built: Built) -> Verdict:
        """Return the verdict on `built`; a check that cannot run is a FAILURE with the reason."""
        try:
            # Modules load when a check needs them: tables need neither GEOS nor PROJ.
            judge = getattr(import_module(f"{__package__}.{self.module}"), self.name)
            return judge(self.name, built)
        except D4CError as error:
            return self._could_not_run(error.cause, error.remedy or "Report this bug")
        except Exception as error:  # noqa: BLE001 - not swallowed: the error becomes the verdict
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            return self._could_not_run(f"{type(error).__name__}: {error} ({where})", "Report this bug")

    def _could_not_run(self, why: str, remedy: str) -> Verdict:
        return Verdict(self.name, Outcome.FAILURE, self.description, f"could not run: {why}", (), remedy)


def _vector(dataset: Dataset) -> bool:
    return dataset.processing.kind == "vector"


def _with_types_of_its_own(dataset: Dataset) -> bool:
    # Text is kept as declared, and the layouts of Statistics Canada fix the types of their columns.
    processing = dataset.processing
    of_layout = isinstance(processing, TableProcessing) and (processing.wds or processing.census)
    return processing.types != "keep" and not of_layout


CHECKS = (
    Check(
        "schema_as_declared",
        "declared",
        "The file has the declared columns in the declared types, and as many rows as profile and summary say.",
    ),
    Check(
        "keys_identify_rows",
        "declared",
        "The declared key columns are never null and never the same twice.",
        lambda dataset: bool(dataset.processing.key),
    ),
    Check(
        "rows_against_previous",
        "previous",
        "The number of rows moved no further from the newest published release than `checks.rows` allows.",
        needs_all=True,
    ),
    Check(
        "bounds_against_previous",
        "previous",
        "No side of the bounds moved further from the newest published release than `checks.bounds` allows.",
        _vector,
        needs_all=True,
    ),
    Check(
        "geometry_valid",
        "spatial",
        "Every geometry is valid, not empty, and within the declared extent.",
        _vector,
    ),
    Check(
        "positions_plausible",
        "positions",
        "Features lie where they can be: coordinates neither exchanged nor without their sign, none at zero, and no"
        " datum shift much coarser than a grid would give.",
        _vector,
    ),
    Check(
        "encoding_sane",
        "declared",
        "No text shows that it was decoded in a wrong encoding.",
    ),
    Check(
        "types_plausible",
        "text_columns",
        "No row has names or units where others have numbers, and no column is text because of a few values.",
        _with_types_of_its_own,
    ),
    Check(
        "dguids_well_formed",
        "declared",
        "Every DGUID has the form of one and exists in the gazetteer, as far as `checks.dguids` demands.",
        lambda dataset: bool(dataset.processing.dguids),
    ),
    Check(
        "expected_totals",
        "declared",
        "The figures that are declared under `checks.totals` come out.",
        lambda dataset: bool(dataset.checks.totals),
        needs_all=True,
    ),
    Check(
        "geoparquet_conformance",
        "conformance",
        "The file is what GeoParquet asks for, and its metadata is true of every row.",
        _vector,
    ),
    Check(
        "readable_by_others",
        "readers",
        "pyarrow, DuckDB and (for features) geopandas read the file and find the same rows.",
    ),
)
"""All checks, in the order in which they run and are shown."""


def checks_of(dataset: Dataset) -> tuple[Check, ...]:
    """Return the checks that apply to `dataset` and that it does not skip."""
    return tuple(check for check in CHECKS if check.applies(dataset) and check.name not in dataset.checks.skip)


def run_checks(
    data: Files,
    profile: Path,
    summary: DataSummary,
    dataset: Dataset,
    vintage: Vintage,
    previous: PreviousFacts | None,
    *,
    work: Path,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> tuple[Verdict, ...]:
    """Check the files of a build; return one verdict for each check that applies, in the order of `CHECKS`.

    Checks that need all rows are left out for the build of a sample.
    `previous`: the release to compare with, None for the first. `work`: a folder of the caller for data that exceeds
    memory, replaced by `temp` if given; files written there are removed. Raises StorageError when a write there fails.
    """
    with workspace(work, temp) as spill:
        built = Built(listed(data), profile, summary, dataset, vintage, previous, spill, threads, memory_limit)
        is_sample = SAMPLE in summary.report
        return tuple(check.run(built) for check in checks_of(dataset) if not (is_sample and check.needs_all))
