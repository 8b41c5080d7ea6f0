"""From the CRS of the source to the one that is published: one operation for a whole dataset, the same everywhere.

What happens to coordinates besides belongs to `geometry`.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import pyproj.network
from pyproj.transformer import AreaOfInterest, TransformerGroup

from d4c_pipeline.model.errors import DataError, DefinitionError

WGS84 = "EPSG:4326"
# Boxes of the Hilbert curve: the whole world; and in length units, whatever any projection of the world reaches.
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_PLANE = (-(2.0**25), -(2.0**25), 2.0**25, 2.0**25)


@dataclass(frozen=True)
class Target:
    """The CRS that is published: `crs` as `EPSG:n`, whether it is longitude and latitude, the Hilbert curve's box."""

    crs: str
    geographic: bool
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, crs: str) -> Target:
        """Return what is to be known of `crs`; raises DefinitionError when PROJ does not know it."""
        try:
            known = pyproj.CRS.from_user_input(crs)
        except pyproj.exceptions.CRSError as error:
            raise DefinitionError(f"crs_out '{crs}' is not known", "Declare it as EPSG:n") from error
        return cls(crs, known.is_geographic, _WORLD if known.is_geographic else _PLANE)

    def degrees(self, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        """Return `bounds` (in this CRS) as west, south, east, north in EPSG:4326, with room for bent edges."""
        if bounds is None or self.crs == WGS84:
            return bounds
        operation = _best(pyproj.CRS.from_user_input(self.crs), pyproj.CRS.from_user_input(WGS84))
        west, south, east, north = operation.transform_bounds(*bounds, densify_pts=100)
        return float(west), float(south), float(east), float(north)

    def as_projjson(self) -> dict[str, Any]:
        """Return the CRS as GeoParquet states it."""
        return pyproj.CRS.from_user_input(self.crs).to_json_dict()


@dataclass(frozen=True)
class Operation:
    """The one operation that takes `source` to `target` (x first both times). Threads may use it side by side."""

    source: pyproj.CRS
    target: pyproj.CRS
    description: str
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def transform(self, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return `coordinates` (n, 2) in the target; what can't be transformed is infinite."""
        if not hasattr(self._own, "transformer"):
            # PROJ's objects belong to the thread that made them.
            self._own.transformer = _best(self.source, self.target)
        x, y = self._own.transformer.transform(coordinates[:, 0], coordinates[:, 1], errcheck=False)
        return np.column_stack([x, y])


def operation(source: pyproj.CRS, target: Target) -> Operation | None:
    """Return the operation from `source` to `target`, None when coordinates stay as they are.

    One operation for the whole dataset, the best over the CRS's own area of use among those that need no grid file:
    it depends neither on the rows nor on what a machine has downloaded. Raises DataError when there is none.
    """
    wanted = pyproj.CRS.from_user_input(target.crs)
    if source.equals(wanted, ignore_axis_order=True):
        return None
    return Operation(source, wanted, _best(source, wanted).description)


def crs_of(target: Target) -> pyproj.CRS:
    """Return the CRS of `target`."""
    return pyproj.CRS.from_user_input(target.crs)


def crs_name(crs: pyproj.CRS) -> str:
    """Return `authority:code` where the CRS is known to be one, else its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def _best(source: pyproj.CRS, target: pyproj.CRS) -> pyproj.Transformer:
    pyproj.network.set_network_enabled(active=False)  # pyright: ignore[reportPrivateImportUsage]
    area = source.area_of_use
    interest = AreaOfInterest(*area.bounds) if area else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Best transformation is not available", category=UserWarning)
            group = TransformerGroup(source, target, always_xy=True, area_of_interest=interest, allow_ballpark=False)
    except pyproj.exceptions.ProjError as error:
        raise _no_operation(source, target) from error
    if not group.transformers:
        raise _no_operation(source, target)
    return group.transformers[0]


def _no_operation(source: pyproj.CRS, target: pyproj.CRS) -> DataError:
    return DataError(
        f"There is no known way from {source.name} to {crs_name(target)}", "Declare processing.crs with override_crs"
    )
