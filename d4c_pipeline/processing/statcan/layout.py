"""Which of Statistics Canada's layouts a delivery is declared to have, put onto the stream that its reader hands out.

What each layout means stands in `wds` and `census`; the files with metadata are found here, in the unpacked delivery
or beside the dataset's YAML.
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
    """Return `native` with its rows as the declared `wds` or `census` layout means them; any other as it is.

    `work`: the folder under which the delivery lies, archives unpacked. `folder`: the dataset's own, for metadata that
    stand beside the YAML. `threads` changes the speed alone. The report of the result is complete when its batches are
    exhausted. Raises DataError when the columns are not those of the layout, the metadata are of another table, or a
    value can't be read.
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
        assert processing.census is not None  # noqa: S101 - one of the two is
        table = census.Table(native.attributes, processing.census.layout)
        name = "census"

    def batches() -> Iterator[pa.RecordBatch]:
        yield from in_order(table.batch, native.batches, threads)
        # Into the reader's own report, which others hold already: it is complete when the batches are.
        native.report[name] = table.report

    return replace(native, attributes=table.schema, batches=batches())


def _cube(declared: Wds, files: list[Path], folder: Path | None) -> cube.Cube | None:
    meta = [path for path in files if path.name.lower().endswith(_META)]
    products = sorted({path.name[: -len(_META)] for path in meta})
    languages = {cube.language_of(path) for path in meta}
    if len(products) > 1 or len(languages) < len(meta):
        raise DataError(
            f"The delivery has several tables: {', '.join(path.name for path in meta)}",
            "Make a dataset of each",
        )
    return cube.read(_json(declared, files, folder), meta, products[0] if products else "")


def _french_units(native: Native, files: list[Path]) -> dict[str, str] | None:
    # Of an English table that came with its French twin.
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
