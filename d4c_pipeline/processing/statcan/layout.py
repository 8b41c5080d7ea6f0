"""Applies the declared Statistics Canada layout to the rows of a reader.

`wds` and `census` define the layouts. This module finds the metadata files, in the unpacked delivery or beside the
dataset's YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, Wds
from d4c_pipeline.processing.statcan import census, cube, french, wds
from d4c_pipeline.tables.native import Native
from d4c_pipeline.tables.parallel import in_order

_META = "_metadata.csv"


def prepare(
    native: Native, processing: TableProcessing, work: Path, folder: Path | None, *, threads: int | None = None
) -> Native:
    """Return `native` with its rows interpreted by the declared `wds` or `census` layout; without a layout, `native`.

    `work`: the folder of the delivery with unpacked archives. `folder`: the dataset's folder, for metadata beside the
    YAML. `threads` changes only the speed. The report of the result is complete when its batches are exhausted. Raises
    DataError for columns of another layout, metadata of another table, and a value that cannot be read.
    """
    if processing.wds is None and processing.census is None:
        return native
    if processing.wds is not None:
        files = sorted(path for path in work.rglob("*") if path.is_file())
        known = _cube(processing.wds, files, folder)
        table = wds.Table(
            native.attributes,
            known,
            fiscal_year_start=processing.wds.fiscal_year_start,
            units=_french_units(native, files),
        )
        name = "wds"
    else:
        assert processing.census is not None  # noqa: S101 - one of the two is declared
        table = census.Table(native.attributes, processing.census.layout)
        name = "census"

    def batches() -> Iterator[pa.RecordBatch]:
        yield from in_order(table.batch, native.batches, threads)
        # Others already hold the reader's report, so it is completed in place after the last batch.
        native.report[name] = table.report

    return replace(native, attributes=table.schema, batches=batches())


def _cube(declared: Wds, files: list[Path], folder: Path | None) -> cube.Cube | None:
    meta = [path for path in files if path.name.lower().endswith(_META)]
    products = sorted({path.name[: -len(_META)] for path in meta})
    languages = {cube.language_of(path) for path in meta}
    if len(products) > 1 or len(languages) < len(meta):
        raise DataError(
            f"The delivery has several tables: {', '.join(path.name for path in meta)}",
            "Declare a dataset for each table",
        )
    return cube.read(_json(declared, files, folder), meta, products[0] if products else "")


def _french_units(native: Native, files: list[Path]) -> dict[str, str] | None:
    # The units of an English table delivered with its French twin.
    if french.is_french(native.attributes.names):
        return None
    twins = [path for path in files if path.name == native.name and french.is_table(path)]
    return french.units(twins[0]) if twins else None


def _json(declared: Wds, files: list[Path], folder: Path | None) -> Path | None:
    if declared.metadata is None:
        found = [path for path in files if cube.is_cube_json(path)]
        if len(found) > 1:
            raise DataError(
                f"Several files could be the cube metadata: {', '.join(path.name for path in found)}",
                "Declare processing.wds.metadata",
            )
        return found[0] if found else None
    candidates = [path for path in files if path.name == declared.metadata]
    candidates += [folder / declared.metadata] if folder is not None else []
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise DataError(
            f"The cube metadata {declared.metadata} are neither in the delivery nor beside the YAML",
            "Correct processing.wds.metadata or add the file",
        )
    return found[0]
