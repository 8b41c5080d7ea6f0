"""Geometry in memory: projection, repair, curves, rings, positions on a Hilbert curve.

Reading geometry from files belongs to `readers`.
"""

from d4c_pipeline.tables import light  # before shapely: without it Arrow loads pandas, which takes seconds

__all__ = ["light"]
