"""The rules of features in JSON: GeoJSON, sequences of GeoJSON, TopoJSON and Esri JSON, distinguished by content.

The values are examined by `geojson` and `esri_values`; JSON of rows belongs to `json_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import answers, geojson, moments
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.preparation import Layer, LayerRules, Source, folder_beside

_SEQUENCE = frozenset({".geojsonl", ".geojsons", ".jsonl", ".ndjson"})
_STATES_ROWS = (".geojson", ".json")
_TOPOLOGY = re.compile(rb'"type"\s*:\s*"Topology"')
_BLOCK = 1 << 20
_RECORD_SEPARATOR = b"\x1e"


class JsonFeatures(LayerRules):
    """The rules of GeoJSON, sequences of GeoJSON, and Esri JSON."""

    single_layer = True

    def dataset_name(self, member: Member, path: Path) -> str:
        """Return the name of the file with the prefix of its driver.

        A prefix keeps GDAL from trying other drivers: its own pipelines are JSON too, and may name any file.
        """
        if member.suffix in _SEQUENCE:
            return f"GeoJSONSeq:{path}"
        with path.open("rb") as handle:
            head = handle.read(1 << 16)
        prefix = "ESRIJSON" if b'"esri' in head else "TopoJSON" if _TOPOLOGY.search(head) else "GeoJSON"
        return f"{prefix}:{path}"

    def check(self, member: Member) -> int | None:
        """Return the stated number of rows. Raises DataError for a truncated file and for one page of a response."""
        return answers.check_json(member.path) if member.suffix in _STATES_ROWS else None

    def prepare(
        self,
        source: Source,
        member: Member,
        _processing: Processing,
        _info: Mapping[str, Any] | None,
        stack: ExitStack,
    ) -> None:
        """Have GDAL open a copy in which numbers that its types can't hold are text or 64 bits wide."""
        if source.name.startswith("ESRIJSON:"):
            from d4c_pipeline.readers import esri  # noqa: PLC0415 - for Esri JSON only

            source.path, wide = esri.with_wide_numbers(member.path, lambda: folder_beside(member.path, stack))
            source.report = {"read_as_64_bits": wide} if wide else {}
        else:
            source.path, quoted = geojson.with_long_numbers_quoted(
                member.path, lambda: folder_beside(member.path, stack)
            )
            source.report = {"read_from_bytes": quoted} if quoted else {}
        if source.path != member.path:
            source.name = self.dataset_name(member, source.path)

    def examine(self, layer: Layer) -> Exact:
        """Return the columns to read from the bytes. Raises DataError for temporal values that GDAL would change."""
        source = layer.source
        if source.name.startswith("ESRIJSON:"):
            from d4c_pipeline.readers import esri_values  # noqa: PLC0415 - for Esri JSON only

            return esri_values.examine(source.path, layer.schema, layer.processing)
        if source.name.startswith("TopoJSON:"):
            return _of_topology(source.path, layer.schema, layer.processing)
        return geojson.examine(source.path, layer.schema, layer.processing)

    def check_read(self, path: Path, features: int) -> None:
        """Raise DataError when a sequence has more records than `features`: GDAL skips broken records."""
        if path.suffix.lower() not in _SEQUENCE:
            return
        records = 0
        with path.open("rb") as handle:
            if handle.read(1) == _RECORD_SEPARATOR:
                handle.seek(0)
                records = sum(block.count(_RECORD_SEPARATOR) for block in iter(lambda: handle.read(_BLOCK), b""))
            else:
                handle.seek(0)
                records = sum(1 for line in handle if not line.isspace())
        if features < records:
            raise DataError(
                f"{path.name} has {records - features} records without a complete feature", "Fetch the vintage again"
            )


class TopoJson(JsonFeatures):
    """The rules of files with the suffix of TopoJSON, which has a layer for each object."""

    single_layer = False


def _of_topology(path: Path, schema: Sequence[tuple[str, pa.DataType]], processing: Processing) -> Exact:
    with geojson.mapped(path) as data:
        for name, kind in schema:
            if not pa.types.is_temporal(kind) or name in processing.drop:
                continue
            reason = moments.misfit(geojson.texts_of(name, data), zoned=pa.types.is_timestamp(kind) and bool(kind.tz))
            if reason is not None:
                raise moments.refusal(name, path, reason)
    return Exact()


RULES, TOPOJSON = JsonFeatures(), TopoJson()
