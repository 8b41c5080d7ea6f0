"""d4c_pipeline: turns open-data sources into versioned, citable, many-times-kept GeoParquet, with Dagster.

The rooms and which way their imports point are described in docs/architecture.md. This module only shows Dagster's
tooling the components of this package, and imports them when they are asked for: reading a vintage must not cost the
import of an orchestrator.
"""

from __future__ import annotations

from typing import Any

_COMPONENTS = ["PublishedDataset", "PublishedFamily"]


def __getattr__(name: str) -> Any:
    if name in _COMPONENTS:
        from d4c_pipeline.orchestration import component  # noqa: PLC0415

        return getattr(component, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_COMPONENTS]
