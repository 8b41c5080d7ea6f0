"""d4c_pipeline: turns open-data sources into versioned, citable, many-times-kept GeoParquet, with Dagster.

docs/architecture.md describes the rooms and their imports. This module shows the components to Dagster's tooling, and
`catalogue` to readers; both are imported on first use, so that `import d4c_pipeline` loads neither Dagster nor DuckDB.
"""

from __future__ import annotations

import importlib
from typing import Any

_COMPONENTS = ["PublishedDataset", "PublishedFamily"]
_READERS = "catalogue"


def __getattr__(name: str) -> Any:
    if name in _COMPONENTS:
        from d4c_pipeline.orchestration import component  # noqa: PLC0415

        return getattr(component, name)
    if name == _READERS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_COMPONENTS]
