"""Vector formats that GDAL reads, and dBASE tables without a shapefile."""

from __future__ import annotations

from d4c_pipeline.files import magic
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers.member import DBF, GDB, Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part

# ruff: noqa: PLC0415 - libraries are imported on use


def _open_shapefile(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import shapefile, vector

    return vector.parts(member, processing, shapefile.RULES)


def _open_table(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import shapefile, vector

    return vector.parts(member, processing, shapefile.TABLE)


def _open_geopackage(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import numbered, vector

    return vector.parts(member, processing, numbered.GEOPACKAGE)


def _open_geodatabase(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import numbered, vector

    return vector.parts(member, processing, numbered.GEODATABASE)


def open_json(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    """Return the one layer of GeoJSON, a sequence of GeoJSON, or Esri JSON."""
    from d4c_pipeline.readers import json_features, vector

    return vector.parts(member, processing, json_features.RULES)


def _open_topojson(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import json_features, vector

    return vector.parts(member, processing, json_features.TOPOJSON)


def _open_flatgeobuf(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import single_layers, vector

    return vector.parts(member, processing, single_layers.FLATGEOBUF)


def _open_gml(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import markup_layers, vector

    return vector.parts(member, processing, markup_layers.GML)


def _open_kml(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import markup_layers, vector

    return vector.parts(member, processing, markup_layers.KML)


def _open_gpx(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    from d4c_pipeline.readers import markup_layers, vector

    return vector.parts(member, processing, markup_layers.GPX)


_SEQUENCE = (b"{", b"\x1e")
_XML = (b"<",)

FORMATS = (
    Format(beginnings={".shp": (magic.SHAPEFILE,)}, group="features", open=_open_shapefile, companions=True),
    Format(beginnings={".gpkg": (magic.SQLITE,)}, group="features", open=_open_geopackage, rows_within_bytes=True),
    Format(beginnings={GDB: ()}, group="features", open=_open_geodatabase),
    Format(
        beginnings={".geojson": (b"{", b"["), ".geojsonl": _SEQUENCE, ".geojsons": _SEQUENCE},
        group="features",
        open=open_json,
    ),
    Format(beginnings={".topojson": (b"{",)}, group="features", open=_open_topojson),
    Format(beginnings={".fgb": (magic.FLATGEOBUF,)}, group="features", open=_open_flatgeobuf),
    Format(beginnings={".gml": _XML}, group="features", open=_open_gml),
    Format(beginnings={".kml": _XML}, group="features", open=_open_kml),
    Format(beginnings={".gpx": _XML}, group="features", open=_open_gpx),
    Format(beginnings={DBF: ()}, group="attributes", open=_open_table),
)
