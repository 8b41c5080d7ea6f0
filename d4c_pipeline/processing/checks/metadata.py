"""Reads the `geo` metadata of a GeoParquet file leniently; the checks judge its errors."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq


def geo_metadata(parquet: pq.ParquetFile) -> dict[str, Any]:
    """Return the `geo` metadata, or an empty mapping if it is missing or not a JSON object."""
    raw = (parquet.metadata.metadata or {}).get(b"geo")
    if raw is None:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
