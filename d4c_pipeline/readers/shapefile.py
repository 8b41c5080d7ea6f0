"""The rules of shapefiles and bare dBASE tables: truncation, text encoding and column values, checked by `dbf` and
`dbf_values`.
"""

from __future__ import annotations

from d4c_pipeline.readers import dbf, dbf_values
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.member import DBF, Member
from d4c_pipeline.readers.preparation import Layer, LayerRules


class Shapefile(LayerRules):
    """The rules of shapefiles."""

    single_layer = True
    sizes_batches = True

    def check(self, member: Member) -> int | None:
        """Raise DataError for a missing or truncated part."""
        dbf.check_whole(member.path)
        return None

    def examine(self, layer: Layer) -> Exact:
        """Return the columns of the table to read from its bytes."""
        path = layer.member.path
        table = path if layer.member.suffix == DBF else dbf.beside(path, DBF)
        assert table is not None  # noqa: S101 - `check` requires it
        return dbf_values.examine(table, layer.names, layer.encoding or "cp1252", layer.processing)


class BareTable(Shapefile):
    """The rules of a dBASE table without a shapefile."""

    sizes_batches = False

    def check(self, member: Member) -> int | None:
        """Raise DataError for a truncated table."""
        dbf.check_dbf_whole(member.path)
        return None


RULES, TABLE = Shapefile(), BareTable()
