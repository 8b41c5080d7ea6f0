"""The documents that describe the process `subset` to clients of OGC API - Processes."""

from __future__ import annotations

from typing import Any

from d4c_pipeline.services.subset.request import FORMATS, MOST_FILTER, MOST_VERTICES

CONFORMANCE = tuple(
    f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{name}"
    for name in ("core", "json", "ogc-process-description", "job-list", "dismiss", "callback")
)
_SUMMARY: dict[str, Any] = {
    "id": "subset",
    "version": "1.0.0",
    "title": "Subset",
    "description": "Rows of a published release: in an area, by a filter, some columns, in another CRS or format.",
    "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
    "outputTransmission": ["value"],
}


def process_list(base: str) -> dict[str, Any]:
    """Return the list of processes."""
    address = f"{base}/processes"
    links = [
        _link(address, "self"),
        _link(f"{address}/conformance", "http://www.opengis.net/def/rel/ogc/1.0/conformance"),
    ]
    return {"processes": [_SUMMARY | {"links": [_link(f"{address}/subset", "self")]}], "links": links}


def description(base: str) -> dict[str, Any]:
    """Return the description of the process with the schemas of its inputs."""
    address = f"{base}/processes/subset"
    execute = "http://www.opengis.net/def/rel/ogc/1.0/execute"
    return {
        **_SUMMARY,
        "inputs": _INPUTS,
        "outputs": {
            "result": {
                "title": "The subset",
                "schema": {
                    "oneOf": [
                        {"type": "string", "contentEncoding": "binary", "contentMediaType": each.media_type}
                        for each in FORMATS.values()
                    ]
                },
            }
        },
        "links": [_link(address, "self"), _link(f"{address}/execution", execute)],
    }


def _input(title: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"title": title, "schema": schema, "minOccurs": 1 if required else 0, "maxOccurs": 1}


_TEXT = {"type": "string"}
_INPUTS: dict[str, Any] = {
    "dataset": _input("The dataset, as in the catalogue", _TEXT, required=True),
    "vintage": _input("The date of the data, such as 2021; by default the newest", _TEXT),
    "version": _input("latest, 1.*, 1.2.* or an exact version", {"type": "string", "default": "latest"}),
    "bbox": _input(
        "West, south, east, north; across 180 degrees the west is above the east",
        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
    ),
    "bbox-crs": _input(
        "The CRS of bbox or geometry: EPSG:n with x first, or a URI with the axes of its authority",
        {"type": "string", "default": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
    ),
    "geometry": _input(
        f"A GeoJSON polygon of at most {MOST_VERTICES:,} vertices; rows whose geometry intersects it are taken",
        {"type": "object", "format": "geojson-geometry"},
    ),
    "filter": _input(
        f"A filter in CQL2, text or JSON, of at most {MOST_FILTER:,} characters",
        {"oneOf": [{"type": "string", "maxLength": MOST_FILTER}, {"type": "object"}]},
    ),
    "filter-lang": _input("The language of the filter", {"type": "string", "enum": ["cql2-text", "cql2-json"]}),
    "columns": _input("The columns of the result in order", {"type": "array", "items": _TEXT}),
    "crs": _input("The CRS of the result, by default that of the data", _TEXT),
    "format": _input("The format of the result", {"type": "string", "enum": list(FORMATS), "default": "parquet"}),
}


def _link(address: str, relation: str) -> dict[str, str]:
    return {"href": address, "rel": relation, "type": "application/json"}
