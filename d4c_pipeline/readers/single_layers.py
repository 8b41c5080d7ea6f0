"""The rules of formats of one layer that need few corrections: FlatGeobuf and MapInfo."""

from __future__ import annotations

import pyarrow as pa

from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.preparation import Layer, LayerRules, read_as_text, with_count


class SingleLayer(LayerRules):
    """The rules of MapInfo's interchange format, which GDAL reads exactly."""

    single_layer = True


class MapInfoTable(SingleLayer):
    """The rules of native MapInfo tables, whose header states the number of features."""

    def examine(self, layer: Layer) -> Exact:
        """Return the stated count."""
        return with_count(Exact(), layer.member.path)


class FlatGeobuf(SingleLayer):
    """The rules of FlatGeobuf: moments whose zones differ are read as text."""

    sizes_batches = True

    def examine(self, layer: Layer) -> Exact:
        """Return the moments that GDAL would change, and the stated count."""
        source = layer.source
        moments = [name for name, kind in layer.schema if pa.types.is_timestamp(kind) and kind.tz is None]
        return with_count(read_as_text(source.path, source.options, moments), layer.member.path)


INTERCHANGE, TABLE, FLATGEOBUF = SingleLayer(), MapInfoTable(), FlatGeobuf()
