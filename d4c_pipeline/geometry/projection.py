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
        if not (known.is_geographic or known.is_projected):
            raise DefinitionError(
                f"crs_out '{crs}' is a {known.type_name}, not one of maps", "Declare a geographic or projected one"
            )
        return cls(crs, known.is_geographic, _WORLD if known.is_geographic else _PLANE)

    def degrees(self, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        """Return `bounds` (in this CRS) as west, south, east, north in EPSG:4326, with room for bent edges."""
        if bounds is None or self.crs == WGS84:
            return bounds
        way = _best(pyproj.CRS.from_user_input(self.crs), pyproj.CRS.from_user_input(WGS84)).transformers[0]
        west, south, east, north = way.transform_bounds(*bounds, densify_pts=100)
        return float(west), float(south), float(east), float(north)

    def as_projjson(self) -> dict[str, Any]:
        """Return the CRS as GeoParquet states it."""
        return pyproj.CRS.from_user_input(self.crs).to_json_dict()


@dataclass(frozen=True)
class Operation:
    """The one operation that takes `source` to `target` (x first both times). Threads may use it side by side.

    `accuracy`: in metres as its authority states it, None where it does not. `better`: the most accurate operation of
    those that need a grid file, where that is more accurate.
    """

    source: pyproj.CRS
    target: pyproj.CRS
    description: str
    accuracy: float | None = None
    better: BetterOperation | None = None
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @property
    def geocentric(self) -> bool:
        """Whether the source's coordinates are three lengths from the centre of the Earth."""
        return self.source.is_geocentric

    def transform(self, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return `coordinates` in the target, (n, 2), or (n, 3) where `geocentric`; what can't be is infinite."""
        if not hasattr(self._own, "transformer"):
            # PROJ's objects belong to the thread that made them.
            self._own.transformer = _best(self.source, self.target).transformers[0]
        return np.column_stack(self._own.transformer.transform(*coordinates.T, errcheck=False))

    def report(self) -> dict[str, Any]:
        """Return what people should know of it: description, accuracies, and the operation that a grid would give."""
        out: dict[str, Any] = {"operation": self.description}
        if self.accuracy is not None:
            out["operation_accuracy_m"] = self.accuracy
        if self.better is not None:
            out["operation_better_with_grid"] = {
                "operation": self.better.name, "accuracy_m": self.better.accuracy, "grids": list(self.better.grids),
            }  # fmt: skip
        return out


@dataclass(frozen=True)
class BetterOperation:
    """An operation that is more accurate (`accuracy`, metres) than the one taken, but needs the files `grids`."""

    name: str
    accuracy: float
    grids: tuple[str, ...]


def operation(source: pyproj.CRS, target: Target) -> Operation | None:
    """Return the operation from `source` to `target`, None when coordinates stay as they are.

    One operation for the whole dataset, the best over the CRS's own area of use among those that need no grid file:
    it depends neither on the rows nor on what a machine has downloaded. Heights have no part in it, except in a
    geocentric CRS: they stay as the source has them. Raises DataError when there is none.
    """
    source, wanted = horizontal(source), pyproj.CRS.from_user_input(target.crs)
    if same_crs(source, wanted):
        return None
    if source.is_geocentric:
        wanted = wanted.to_3d()
    group = _best(source, wanted)
    taken = group.transformers[0]
    accuracy = taken.accuracy if taken.accuracy is not None and taken.accuracy >= 0 else None
    better = None
    with_grids = [each for each in group.unavailable_operations if each.accuracy >= 0]
    if accuracy is not None and with_grids:
        best = min(with_grids, key=lambda each: each.accuracy)
        if best.accuracy < accuracy:
            grids = tuple(grid.short_name for grid in best.grids)
            better = BetterOperation(best.name, best.accuracy, grids)
    return Operation(source, wanted, taken.description, accuracy, better)


def horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the part of `crs` that says where on the Earth something is; a geocentric one is returned as it is."""
    if crs.is_compound:
        return horizontal(crs.sub_crs_list[0])
    return crs.to_2d() if len(crs.axis_info) == 3 and not crs.is_geocentric else crs


def vertical_name(crs: pyproj.CRS) -> str | None:
    """Return what heights in `crs` refer to, None where it does not say."""
    if crs.is_compound:
        return ", ".join(part.name for part in crs.sub_crs_list[1:])
    return "ellipsoid" if len(crs.axis_info) == 3 else None


def same_crs(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether both give a place the same coordinates, x first: OGC:CRS84, EPSG:4326 and Esri's spelling of it do."""
    if one.equals(other, ignore_axis_order=True):
        return True
    # Spelt without an identifier, another producer's names may hide which one it is.
    codes = [crs.to_authority(min_confidence=70) for crs in (one, other)]
    return codes[0] is not None and codes[0] == codes[1]


def crs_of(target: Target) -> pyproj.CRS:
    """Return the CRS of `target`."""
    return pyproj.CRS.from_user_input(target.crs)


def crs_name(crs: pyproj.CRS) -> str:
    """Return `authority:code` where the CRS is known to be one, else its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def _best(source: pyproj.CRS, target: pyproj.CRS) -> TransformerGroup:
    # Its first transformer is the one to take.
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
        raise _no_operation(source, target, group)
    return group


def _no_operation(source: pyproj.CRS, target: pyproj.CRS, group: TransformerGroup | None = None) -> DataError:
    grids = sorted({grid.short_name for each in (group.unavailable_operations if group else []) for grid in each.grids})
    why = f" without a grid file ({', '.join(grids[:5])})" if grids else ""
    return DataError(
        f"There is no known way from {source.name} to {crs_name(target)}{why}",
        "Have the publisher deliver another coordinate reference system, or declare the right processing.crs with"
        " override_crs where the stated one is wrong",
    )
