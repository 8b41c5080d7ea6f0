"""Descriptions of the protocols in OpenAPI 3.0: what the documents of several protocols have in common.

Paths belong to each protocol. Source: https://spec.openapis.org/oas/v3.0.3.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from d4c_pipeline.services import problems
from d4c_pipeline.services.discovery.words import LANGUAGES

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"
_TEXT: Mapping[str, Any] = {"type": "string"}
_LIST: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}}
_BOX: Mapping[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
PARAMETERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bbox": ("West, south, east, north in degrees; across 180 degrees the west is above the east", _BOX),
    "datetime": ("A time, or an interval whose open end is `..`", _TEXT),
    "intersects": ("A geometry in GeoJSON", _TEXT),
    "ids": ("Names of releases", _LIST),
    "collections": ("Datasets", _LIST),
    "q": ("Words in English or French; terms with commas between are alternatives", _LIST),
    "filter": ("A filter in CQL2", _TEXT),
    "filter-lang": ("The language of the filter", {"type": "string", "enum": ["cql2-text", "cql2-json"]}),
    "filter-crs": ("The CRS of geometries in the filter: CRS84", _TEXT),
    "sortby": ("Properties; a minus sign before one sorts downwards", _LIST),
    "fields": ("Members of items to include, or after a minus sign to exclude", _LIST),
    "token": ("The place of a page, from a link `next`", _TEXT),
    "type": ("Types of records", _LIST),
    "externalIds": ("Identifiers such as DOI or URN, alone or after their scheme and a colon", _LIST),
    "lang": ("The language of texts; without it that of Accept-Language", {"type": "string", "enum": [*LANGUAGES]}),
}
"""Every parameter of queries but `limit`: what it means, and its schema."""


def get(summary: str, media_type: str, parameters: Sequence[str] = (), most: int | None = None) -> dict[str, Any]:
    """Return the description of a path that GET alone reads. `parameters`: of its query; `most`: the highest limit."""
    stated = [_parameter(name, *PARAMETERS[name]) for name in parameters]
    if most is not None:
        schema = {"type": "integer", "minimum": 1, "maximum": most}
        stated.append(_parameter("limit", f"Results on a page, at most {most}", schema))
    return {"get": {"summary": summary, "parameters": stated, "responses": answers(media_type)}}


def in_path(name: str, meaning: str) -> dict[str, Any]:
    """Return the description of a part of the path."""
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": dict(_TEXT)}


def answers(media_type: str) -> dict[str, Any]:
    """Return the responses of an operation: the answer, or a problem document."""
    return {
        "200": {"description": "The answer", "content": {media_type: {"schema": {"type": "object"}}}},
        "default": {
            "description": "A problem document (RFC 9457): cause and remedy in `detail`, the remedy alone in `remedy`",
            "content": {problems.MEDIA_TYPE: {"schema": {"type": "object"}}},
        },
    }


def document(title: str, description: str, server: str, paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a protocol whose paths begin at `server`."""
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "description": description, "version": "1.0.0"},
        "servers": [{"url": server}],
        "paths": dict(paths),
    }


def _parameter(name: str, meaning: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    listed = {"style": "form", "explode": False} if schema["type"] == "array" else {}
    return {"name": name, "in": "query", "required": False, "description": meaning, "schema": dict(schema), **listed}
