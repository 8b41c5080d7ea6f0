"""A small FeatureServer over real features, which answers as the REST reference of ArcGIS documents.

Faults are told by `fault`, which sees the object ids of each page before it is answered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import shapely

from d4c_pipeline_tests.support import origin_server as o

LAYER = "/arcgis/rest/services/Elections/PED/FeatureServer/0"
_TYPES = {"object": "esriFieldTypeString", "str": "esriFieldTypeString", "float64": "esriFieldTypeDouble"}
_TYPES |= {"int64": "esriFieldTypeInteger", "int32": "esriFieldTypeInteger"}


class FeatureServer:
    """Features with the object ids 1, 4, 7, ...: gaps are the rule in a real layer."""

    def __init__(self, frame: Any, *, most_rows: int = 1000) -> None:
        self.most_rows = most_rows
        self.edited: int | None = 1_714_865_400_000  # 4 May 2024, 23:30 UTC
        self.fault: Callable[[o.Handler, list[int]], bool] = lambda *_: False
        self.pages: list[list[int]] = []
        columns = [name for name in frame.columns if name != "geometry"]
        self.fields: list[dict[str, Any]] = [
            {"name": "OBJECTID", "type": "esriFieldTypeOID", "alias": "OBJECTID"},
            *({"name": name, "type": _TYPES[str(frame[name].dtype)], "alias": name} for name in columns),
        ]
        self.rows: dict[int, dict[str, Any]] = {}
        for number, (_, row) in enumerate(frame.iterrows()):
            attributes = {name: getattr(row[name], "item", lambda row=row, name=name: row[name])() for name in columns}
            shape = row.geometry
            polygons = shape.geoms if shape.geom_type == "MultiPolygon" else [shape]
            rings = [
                [list(point) for point in ring.coords]
                for polygon in polygons
                for ring in [shapely.geometry.polygon.orient(polygon, -1).exterior, *polygon.interiors]
            ]
            identifier = 3 * number + 1
            self.rows[identifier] = {
                "attributes": {"OBJECTID": identifier, **attributes},
                "geometry": {"rings": rings},
            }

    def layer(self, _: o.Handler) -> dict[str, Any]:
        return {
            "name": "PED 2024",
            "description": "Provincial electoral districts",
            "type": "Feature Layer",
            "geometryType": "esriGeometryPolygon",
            "objectIdField": "OBJECTID",
            "fields": self.fields,
            "maxRecordCount": self.most_rows,
            "editingInfo": {} if self.edited is None else {"lastEditDate": self.edited},
        }

    def query(self, handler: o.Handler) -> dict[str, Any]:
        asked = o.parameters(handler)
        if asked.get("returnCountOnly") == "true":
            return {"count": len(self.rows)}
        if asked.get("returnIdsOnly") == "true":
            return {"objectIdFieldName": "OBJECTID", "objectIds": sorted(self.rows, reverse=True) or None}
        ids = [int(each) for each in asked["objectIds"].split(",")]
        self.pages.append(ids)
        if self.fault(handler, ids):
            return {"error": {"code": 500, "message": "Error performing query operation", "details": []}}
        found = [self.rows[each] for each in ids if each in self.rows][: self.most_rows]
        return {
            "objectIdFieldName": "OBJECTID",
            "geometryType": "esriGeometryPolygon",
            "spatialReference": {"wkid": 2953, "latestWkid": 2953},
            "fields": self.fields,
            "features": found[::-1],  # the order of an answer means nothing
            **({"exceededTransferLimit": True} if len(found) < len(ids) else {}),
        }

    @contextmanager
    def serving(self) -> Iterator[o.Origin]:
        origin = o.Origin(o.is_gone, documents={LAYER: self.layer, f"{LAYER}/query": self.query})
        with o.serving(origin):
            yield origin


def ridings(fixtures: Path) -> Any:
    """The 49 electoral districts of New Brunswick, in EPSG:2953."""
    return geopandas.read_file(f"zip://{fixtures}/03_geonb_ridings_2024/geonb_2024_ped_cep_shp.zip")


def stall(seconds: float) -> None:
    time.sleep(seconds)


def as_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))
