"""The catalogue: the STAC item of a release, the STAC GeoParquet file of all releases, the static STAC tree.

The documents, their validation and SQL over the file belong here; `open` gives readers its rows. `chain` selects the
releases from the ledger; `stores` keeps the files. https://stacspec.org
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from duckdb import DuckDBPyRelation


def open(address_or_path: str | PathLike[str] | None = None) -> DuckDBPyRelation:  # noqa: A001 - as in `catalogue.open()`
    """Return the releases of a catalogue as a DuckDB relation, read lazily from its Parquet file.

    `address_or_path`: the file `stac.parquet`, a store or home that has it, or an http(s) address of the file or the
    store; None for the catalogue of the home (`D4C_HOME`). The relation has a connection of its own; its geometry is
    WKB. Raises UnknownNameError when no catalogue is there, DataError when the file is not a catalogue, TransientError
    when the address does not answer.
    """
    from d4c_pipeline.catalogue import query  # noqa: PLC0415 - DuckDB loads when a catalogue is opened

    return query.opened(address_or_path)
