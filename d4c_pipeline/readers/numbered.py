"""The rules of formats with a column of feature IDs: GeoPackage and File Geodatabase.

GDAL does not list that column among the attributes. Values of a GeoPackage are examined by `geopackage`, views and
virtual tables are bounded by `sqlite_bounds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import sqlite_bounds
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.preparation import Layer, LayerRules, Source, with_count

# The default names of writers: such a column holds running numbers.
_COMMON_FIDS = frozenset({"fid", "ogc_fid", "objectid", "objectid_1"})


class Numbered(LayerRules):
    """The rules that both formats share. `keeps_named`: an ID column of another name than the defaults is kept."""

    has_fids = True
    keeps_named: bool = False

    def prepare(
        self, source: Source, _member: Member, processing: Processing, info: Mapping[str, Any] | None, _stack: ExitStack
    ) -> None:
        """Have GDAL return the feature IDs where they are data; report the name of the column otherwise."""
        name = info["fid_column"] if info is not None else ""
        if not name or processing.feature_id == "drop":
            return
        named = self.keeps_named and name.lower() not in _COMMON_FIDS
        if processing.feature_id == "keep" or named:
            source.options["return_fids"] = True
        else:
            source.report["feature_id_left_out"] = name


class GeoPackage(Numbered):
    """The rules of GeoPackage."""

    sizes_batches = True
    keeps_named = True

    def check_layers(self, path: Path) -> None:
        """Raise DataError for too many layers, and for a view without end."""
        sqlite_bounds.check_layers(path)

    def check_layer(self, path: Path, layer: str) -> None:
        """Raise DataError for a computed layer that is too large or too slow."""
        sqlite_bounds.check(path, layer)

    def examine(self, layer: Layer) -> Exact:
        """Return the columns to read through SQLite."""
        from d4c_pipeline.readers import geopackage  # noqa: PLC0415 - a File Geodatabase does not need it

        return geopackage.examine(layer.member.path, layer.name, dict(layer.schema), layer.processing)


class Geodatabase(Numbered):
    """The rules of File Geodatabase."""

    def examine(self, layer: Layer) -> Exact:
        """Return the stated count."""
        return with_count(Exact(), layer.member.path, layer.name)


GEOPACKAGE, GEODATABASE = GeoPackage(), Geodatabase()
