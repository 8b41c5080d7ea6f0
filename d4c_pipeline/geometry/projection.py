"""Selects the operation from the CRS of the source to the published CRS: one per dataset, the same on every machine.

Other changes of coordinates belong to `cleaning`.
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
# Boxes of the Hilbert curve: the world in degrees, and in length units the range of every projection of the world.
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_PLANE = (-(2.0**25), -(2.0**25), 2.0**25, 2.0**25)
# A PROJ object belongs to the thread that created it.
_ways = threading.local()
_KEPT = 64


@dataclass(frozen=True)
class Target:
    """The published CRS: `crs` as `EPSG:n`, whether it is longitude and latitude, the box of the Hilbert curve."""

    crs: str
    geographic: bool
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, crs: str) -> Target:
        """Return the target for `crs`. Raises DefinitionError for an unknown CRS and for a CRS not of maps."""
        try:
            known = pyproj.CRS.from_user_input(crs)
        except pyproj.exceptions.CRSError as error:
            raise DefinitionError(f"crs_out '{crs}' is not known", "Declare it as EPSG:n") from error
        if not (known.is_geographic or known.is_projected):
            raise DefinitionError(
                f"crs_out '{crs}' is a {known.type_name}, not a CRS of maps", "Declare a geographic or projected CRS"
            )
        return cls(crs, known.is_geographic, _WORLD if known.is_geographic else _PLANE)

    def degrees(self, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        """Return `bounds` (in this CRS) as west, south, east, north in EPSG:4326, including curved edges."""
        if bounds is None or self.crs == WGS84:
            return bounds
        way = _best(pyproj.CRS.from_user_input(self.crs), pyproj.CRS.from_user_input(WGS84)).transformers[0]
        west, south, east, north = way.transform_bounds(*bounds, densify_pts=100)
        return float(west), float(south), float(east), float(north)

    def as_projjson(self) -> dict[str, Any]:
        """Return the CRS as PROJJSON, as in GeoParquet."""
        return pyproj.CRS.from_user_input(self.crs).to_json_dict()


@dataclass(frozen=True)
class Operation:
    """The operation from `source` to `target`, with x first in both. Several threads may use it.

    `accuracy`: metres, as stated by its authority, or None. `better`: the most accurate operation with a grid file, if
    it is more accurate.
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
        """Return `coordinates` in the target, (n, 2), or (n, 3) if `geocentric`; infinite if the operation fails."""
        if not hasattr(self._own, "transformer"):
            # A PROJ object belongs to the thread that created it.
            self._own.transformer = _best(self.source, self.target).transformers[0]
        return np.column_stack(self._own.transformer.transform(*coordinates.T, errcheck=False))

    def report(self) -> dict[str, Any]:
        """Return the facts for the report: description, accuracy, and the better operation with a grid."""
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
    """An operation that is more accurate (`accuracy`, metres) than the selected one, but needs the files `grids`."""

    name: str
    accuracy: float
    grids: tuple[str, ...]


def operation(source: pyproj.CRS, target: Target) -> Operation | None:
    """Return the operation from `source` to `target`, None for the same CRS.

    The dataset has one operation, the best over the area of use of the CRS among those without a grid file: it depends
    neither on the rows nor on the grids of a machine. Heights stay unchanged, except in a geocentric CRS. Raises
    DataError when no operation exists.
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


def transformer(source: pyproj.CRS, target: pyproj.CRS) -> pyproj.Transformer:
    """Return the best transformer without a grid file from `source` to `target`, x first in both, for this thread.

    Selecting it takes some 20 ms, so a thread keeps those that it used. Raises DataError when no operation exists.
    """
    kept: dict[tuple[pyproj.CRS, pyproj.CRS], pyproj.Transformer] = _ways.__dict__.setdefault("kept", {})
    key = (source, target)
    if key not in kept:
        if len(kept) >= _KEPT:
            kept.clear()
        kept[key] = _best(horizontal(source), horizontal(target)).transformers[0]
    return kept[key]


def horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the horizontal part of `crs`; a geocentric CRS is returned unchanged."""
    if crs.is_compound:
        return horizontal(crs.sub_crs_list[0])
    return crs.to_2d() if len(crs.axis_info) == 3 and not crs.is_geocentric else crs


def vertical_name(crs: pyproj.CRS) -> str | None:
    """Return the vertical reference of heights in `crs`, None without one."""
    if crs.is_compound:
        return ", ".join(part.name for part in crs.sub_crs_list[1:])
    return "ellipsoid" if len(crs.axis_info) == 3 else None


def same_crs(first: pyproj.CRS, second: pyproj.CRS) -> bool:
    """Whether both give the same coordinates, x first, as OGC:CRS84, EPSG:4326 and Esri's spelling of it do."""
    if first.equals(second, ignore_axis_order=True):
        return True
    # Without an identifier, another producer's names may hide the authority's code.
    codes = [crs.to_authority(min_confidence=70) for crs in (first, second)]
    return codes[0] is not None and codes[0] == codes[1]


def crs_of(target: Target) -> pyproj.CRS:
    """Return the CRS of `target`."""
    return pyproj.CRS.from_user_input(target.crs)


def crs_name(crs: pyproj.CRS) -> str:
    """Return `authority:code` of a CRS with a known code, else its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def _best(source: pyproj.CRS, target: pyproj.CRS) -> TransformerGroup:
    # The first transformer of the group is the best.
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
        f"No operation is known from {source.name} to {crs_name(target)}{why}",
        "Request the data in another coordinate reference system from the publisher; if the stated one is wrong,"
        " declare the right processing.crs with override_crs",
    )
