"""The description of a layer or table of an ArcGIS server (`<layer>?f=json`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from d4c_pipeline.drafting.facts import Facts, Found, documents, plain
from d4c_pipeline.drafting.licences import licence_of
from d4c_pipeline.tables.names import snake_case


def is_layer(document: Any) -> bool:
    """Return whether a JSON document describes a layer or table."""
    return (
        isinstance(document, dict)
        and "fields" in document
        and ("currentVersion" in document or "objectIdField" in document)
    )


def facts(layer: Mapping[str, Any]) -> Facts:
    """Return the facts of a layer. A server states its texts in one language, without naming it."""
    out: Facts = {}
    if name := plain(str(layer.get("name") or "")):
        out["title.en"] = Found(name, "name of the layer, in the server's only language")
    if text := plain(str(layer.get("description") or "")):
        out["description.en"] = Found(text, "description of the layer, in the server's only language")
    credit = plain(str(layer.get("copyrightText") or ""))
    licence = licence_of(f"copyrightText of the layer: {credit[:80]}", credit)
    if licence is not None and isinstance(licence.value, str):  # a credit line names no licence, so it is no title
        out["license"] = licence
    kind = "vector" if layer.get("geometryType") else "table"
    out["processing.kind"] = Found(kind, f"geometryType {layer.get('geometryType')} of the layer")
    unique = [
        snake_case(str(index.get("fields")))
        for index in documents(layer.get("indexes"))
        if index.get("isUnique")
        and "," not in str(index.get("fields"))
        and index.get("fields") != layer.get("objectIdField")
    ]
    if unique:
        out["key_hint"] = Found(unique, "unique indexes of the layer")
    for field in documents(layer.get("fields")):
        field_name, alias = str(field.get("name") or ""), plain(str(field.get("alias") or ""))
        if alias and snake_case(alias) != snake_case(field_name):
            out[f"columns.{field_name}.en"] = Found(alias, "alias of the layer's field")
    return out
