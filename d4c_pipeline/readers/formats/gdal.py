"""Vector formats that GDAL reads, and dBASE tables without a shapefile."""

from __future__ import annotations

from d4c_pipeline.files import magic
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers.member import DBF, GDB, Member
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Part


def open_layers(member: Member, processing: Processing, _threads: int | None) -> list[Part]:
    """Return the layers of a vector file that `processing` declares."""
    from d4c_pipeline.readers import vector  # noqa: PLC0415

    return vector.parts(member, processing)


_SEQUENCE = (b"{", b"\x1e")
_XML = (b"<",)

FORMATS = (
    Format(
        beginnings={
            ".shp": (magic.SHAPEFILE,),
            ".gpkg": (magic.SQLITE,),
            GDB: (),
            ".geojson": (b"{", b"["),
            ".geojsonl": _SEQUENCE,
            ".geojsons": _SEQUENCE,
            ".fgb": (magic.FLATGEOBUF,),
            ".gml": _XML,
            ".kml": _XML,
            ".gpx": _XML,
            ".topojson": (b"{",),
        },
        group="features",
        open=open_layers,
    ),
    Format(beginnings={DBF: ()}, group="attributes", open=open_layers),
)
