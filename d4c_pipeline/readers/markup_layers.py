"""The rules of features in XML: GML, KML and GPX. Patterns over the bytes of such a file belong to `markup`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import markup, moments
from d4c_pipeline.readers.exact import Exact
from d4c_pipeline.readers.member import Member
from d4c_pipeline.readers.preparation import Layer, LayerRules, Source, folder_beside, read_as_text
from d4c_pipeline.tables.gdal import thread_config

_WIDE = re.compile(rb">\s*[+-]?[0-9]{16,}\s*<")


class Gml(LayerRules):
    """The rules of GML: GDAL reads the last geometry of a feature, and no reference."""

    def check(self, member: Member) -> int | None:
        """Return the stated number of features. Raises DataError as `markup.check` and `markup.check_elements` do."""
        return _checked(member)

    def prepare(
        self, source: Source, member: Member, processing: Processing, _info: Mapping[str, Any] | None, stack: ExitStack
    ) -> None:
        """Have GDAL open a copy with the declared geometry only, and read references as attributes.

        Raises DataError for features with several geometries of which the dataset declares none.
        """
        source.references = markup.references(member.path)
        if isinstance(processing, VectorProcessing):
            source.path = _with_single_geometry(member.path, processing, source.report, stack)
            source.name = str(source.path)
        if source.references:
            source.options["GML_ATTRIBUTES_TO_OGR_FIELDS"] = "YES"

    def examine(self, layer: Layer) -> Exact:
        """Return the temporal and wide numeric columns that GDAL would change, as text."""
        source = layer.source
        with ExitStack() as stack:
            path, doubtful = source.path, _doubtful(source.path, layer.schema)
            if doubtful:
                # In a separate folder, without the schema that states types.
                path = folder_beside(path, stack) / path.name
                path.symlink_to(source.path)
                stack.enter_context(thread_config("GML_FIELDTYPES", "ALWAYS_STRING"))
            exact = read_as_text(path, source.options, doubtful)
        columns = layer.names
        if missing := [each for each in source.references if not any(n.endswith(f"{each}_href") for n in columns)]:
            exact.report["references_left_out"] = missing
        return exact


class Placemarks(LayerRules, ABC):
    """The rules that KML and GPX share. `temporal`: GDAL's column of moments -> the element with its text."""

    temporal: Mapping[str, str]

    @abstractmethod
    def made_up(self, path: Path, names: Sequence[str]) -> list[str]:
        """Return the columns of GDAL's that the file does not have."""

    def facts(self, _path: Path) -> dict[str, Any]:
        """Return facts for the report."""
        return {}

    def examine(self, layer: Layer) -> Exact:
        """Return the columns that GDAL makes up. Raises DataError for moments that GDAL would change."""
        path, names = layer.member.path, layer.names
        exact = Exact(left_out=self.made_up(path, names), unset=markup.KML_UNSET)
        exact.report |= self.facts(path)
        if exact.left_out:
            exact.report["columns_left_out"] = list(exact.left_out)
        for name, element in self.temporal.items():
            if name not in names or name in exact.left_out or name in layer.processing.drop:
                continue
            reason = moments.misfit(markup.texts_of(path, element), zoned=False)
            if reason is not None:
                raise moments.refusal(name, path, reason)
        return exact


class Kml(Placemarks):
    """The rules of KML: GDAL makes up a dozen columns; links to other files are not followed."""

    temporal = MappingProxyType({"timestamp": "when", "begin": "begin", "end": "end"})

    def check(self, member: Member) -> int | None:
        """Return the stated number of features. Raises DataError for a file of links without placemarks, too."""
        stated = markup.check(member.path)
        markup.network_links(member.path)
        return stated

    def examine(self, layer: Layer) -> Exact:
        """Return the columns that GDAL makes up. Raises DataError for data that GDAL writes over other texts, too."""
        markup.check_data(layer.member.path, layer.processing.drop)
        return super().examine(layer)

    def made_up(self, path: Path, names: Sequence[str]) -> list[str]:
        """Return the columns of GDAL's that no placemark has."""
        return markup.made_up_columns(path, names)

    def facts(self, path: Path) -> dict[str, Any]:
        """Return the links to other files."""
        links = markup.network_links(path)
        return {"network_links": links} if links else {}


class Gpx(Placemarks):
    """The rules of GPX: GDAL lists five layers for every file, and makes up columns."""

    lists_empty_layers = True
    temporal = MappingProxyType({"time": "time"})

    def check(self, member: Member) -> int | None:
        """Return the stated number of features. Raises DataError as `markup.check` and `markup.check_elements` do."""
        return _checked(member)

    def made_up(self, path: Path, names: Sequence[str]) -> list[str]:
        """Return the columns of GDAL's that no element of the file has."""
        return markup.made_up_gpx(path, names)


def _checked(member: Member) -> int | None:
    stated = markup.check(member.path)
    markup.check_elements(member.path)
    return stated


def _with_single_geometry(path: Path, vector: VectorProcessing, report: dict[str, Any], stack: ExitStack) -> Path:
    there = markup.geometry_properties(path)
    if len(there) < 2:
        return path
    wanted = vector.geometry_column
    if wanted is None or wanted not in there:
        raise DataError(
            f"{path.name} has features with several geometries: {', '.join(there)}",
            "Declare the geometry to read as processing.geometry_column",
        )
    others = [name for name in there if name != wanted]
    report["geometry_columns_dropped"] = others
    return markup.with_single_geometry(path, wanted, others, folder_beside(path, stack))


def _doubtful(path: Path, schema: Sequence[tuple[str, pa.DataType]]) -> list[str]:
    temporal = [name for name, kind in schema if pa.types.is_temporal(kind)]
    found = [name for name in temporal if moments.misfit(markup.texts_of(path, name) or [None], zoned=False)]
    if _WIDE.search(path.read_bytes()) is not None:
        found += [name for name, kind in schema if kind in (pa.int64(), pa.float64())]
    return found


GML, KML, GPX = Gml(), Kml(), Gpx()
