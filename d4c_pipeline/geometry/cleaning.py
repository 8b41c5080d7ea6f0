"""Cleans geometry for publication: declared CRS, x first, valid, rings oriented, null instead of empty, two dimensions.

Reading geometry belongs to `readers`; the order of rows, the covering and metadata belong to `geoparquet`. A `Tally`
counts all changes. Geometry that cannot be read, transformed or repaired raises an `UnfitError` with its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from d4c_pipeline.geometry import antimeridian, curves, hilbert, nesting, points, repair, rings
from d4c_pipeline.geometry.projection import Operation
from d4c_pipeline.geometry.shapes import WITH_Z, Geometries, Rules, Shapes, Tally
from d4c_pipeline.geometry.stream import UnfitError
from d4c_pipeline.model.limits import Limits, setting
from d4c_pipeline.tables.arrays import as_arrow

# SQL sees this area in place of geometry that cannot be cleaned. No condition on places on Earth selects it; its extent
# shows in sums, boxes and unions that include it.
OUT_OF_THIS_WORLD = shapely.to_wkb(shapely.box(1e9, 1e9, 2e9, 2e9), byte_order=1)
_COLLECTION = 7
# Degrees by which rounding in a transformation may overshoot the antimeridian or a pole.
_OVERSHOOT = 1e-9


def clean(chunk: pa.Array, operation: Operation | None, rules: Rules) -> Shapes:
    """Clean one batch of WKB as the module describes. Several threads may call this function.

    `operation` transforms coordinates to the target CRS; None keeps them. Empty geometries become null, curves become
    lines, `repair` repairs invalid geometry. Raises UnfitError, with the positions in `chunk`, for bytes that are not
    geometry, surfaces in space, coordinates outside of the target CRS, and geometry of which repair leaves nothing.
    """
    tally = Tally()
    if operation is not None and operation.geocentric:
        return _any(chunk, operation, rules, tally)
    xy = points.read(chunk, tally)
    if xy is not None:
        return _points(chunk, xy, operation, rules, tally)
    simple = rings.read(chunk)
    if simple is None or len(simple.rows) * 2 < len(chunk):
        return _any(chunk, operation, rules, tally)
    rows, areas = _areas(chunk, simple, operation, rules, tally)
    if len(rows) == len(chunk):
        return areas
    rest = np.setdiff1d(np.arange(len(chunk)), rows, assume_unique=True)
    try:
        others = _any(chunk.take(as_arrow(rest)), operation, rules, tally)
    except UnfitError as error:
        raise UnfitError(error.cause, error.remedy, rest[error.rows]) from error
    return _merged(rows, areas, rest, others)


def _any(chunk: pa.Array, operation: Operation | None, rules: Rules, tally: Tally) -> Shapes:
    degrees = rules.target.geographic if operation is None else operation.source.is_geographic
    geometries = _parsed(chunk, rules, tally, degrees=degrees)
    empty = shapely.is_empty(geometries)
    tally.empty_geometries += int(empty.sum())
    geometries[empty] = None
    geocentric = operation is not None and operation.geocentric
    if geocentric:
        # The third geocentric coordinate becomes a height only by the transformation.
        geometries = _transformed(_flattened(geometries, keep_z=True), operation, rules, tally)
    flat = shapely.has_m(geometries) if rules.keep_z else shapely.has_z(geometries) | shapely.has_m(geometries)
    if flat.any():
        tally.dimensions_dropped += int(flat.sum())
        geometries[flat] = _flattened(geometries[flat], keep_z=rules.keep_z)
    if not geocentric:
        geometries = _transformed(geometries, operation, rules, tally)
    _repair(geometries, rules, tally)
    types = shapely.get_type_id(geometries).astype(np.int8)
    with_rings = np.flatnonzero(types >= 3)
    if len(with_rings):
        geometries[with_rings] = shapely.orient_polygons(geometries[with_rings], exterior_cw=False)
    tally.null_geometries += int((types < 0).sum())
    if rules.keep_z:
        types[shapely.has_z(geometries)] += WITH_Z
    bounds = shapely.bounds(geometries)
    tally.points_at_zero += _at_zero(bounds[types % WITH_Z == 0, :2], rules)
    dimensions = 3 if rules.keep_z else 2
    wkb = shapely.to_wkb(geometries, byte_order=1, output_dimension=dimensions, flavor="iso")
    return Shapes(
        pa.array(wkb.tolist(), pa.binary()),
        bounds,
        types,
        shapely.get_num_coordinates(geometries).astype(np.int32),
        hilbert.places(bounds, rules.target.box),
        tally,
    )


def _areas(
    chunk: pa.Array, simple: rings.Rings, operation: Operation | None, rules: Rules, tally: Tally
) -> tuple[npt.NDArray[np.int64], Shapes]:
    # The areas that need only the operation, and their positions. The general path handles the others and reports their
    # faults.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(simple.coordinates.sum())
    if not finite:
        each = np.asarray(np.isfinite(simple.coordinates).all(axis=1))
        simple = simple.some(np.logical_and.reduceat(each, simple.starts))
    moved = simple if operation is None else replace(simple, coordinates=operation.transform(simple.coordinates))
    bounds = moved.bounds()
    fine = np.asarray(np.isfinite(bounds).all(axis=1))
    if rules.target.geographic:
        fine &= (np.abs(bounds) <= (180.0, 90.0, 180.0, 90.0)).all(axis=1) & (bounds[:, 2] - bounds[:, 0] <= 180.0)
    if not fine.all():
        moved, bounds = moved.some(fine), bounds[fine]
    ways = moved.ways()
    turned = moved.reversed(ways < 0)
    valid = ways != 0
    rows, counts, bounds = moved.rows[valid], moved.counts[valid], bounds[valid]
    if operation is None and turned is moved:
        wkb = chunk if len(rows) == len(chunk) else chunk.take(as_arrow(rows))
    else:
        wkb = turned.wkb() if valid.all() else turned.wkb().filter(as_arrow(valid))
    return rows, Shapes(
        wkb,
        bounds,
        np.full(len(rows), 3, np.int8),
        counts.astype(np.int32),
        hilbert.places(bounds, rules.target.box),
        tally,
    )


def _merged(
    first_rows: npt.NDArray[np.int64], first: Shapes, second_rows: npt.NDArray[np.int64], second: Shapes
) -> Shapes:
    back = np.argsort(np.concatenate([first_rows, second_rows]))
    return Shapes(
        pa.concat_arrays([first.wkb, second.wkb]).take(as_arrow(back)),
        np.concatenate([first.bounds, second.bounds])[back],
        np.concatenate([first.types, second.types])[back],
        np.concatenate([first.vertices, second.vertices])[back],
        np.concatenate([first.places, second.places])[back],
        second.tally,
    )


def _points(
    chunk: pa.Array, xy: npt.NDArray[np.float64], operation: Operation | None, rules: Rules, tally: Tally
) -> Shapes:
    # `xy` is NaN where there is no point.
    known = ~np.isnan(xy[0])
    count = int(known.sum())
    complete = count == len(known)
    some = (xy if complete else xy[:, known]).T
    moved = _checked(some, operation, rules, lambda: np.flatnonzero(known), limit=180.0)
    tally.null_geometries += len(known) - count
    tally.points_at_zero += _at_zero(moved, rules)
    unchanged = moved is some and count == len(chunk) - chunk.null_count
    if complete:
        bounds = np.concatenate([moved.T, moved.T])
    else:
        bounds = np.full((4, len(known)), np.nan)
        bounds[:2, known] = bounds[2:, known] = moved.T
    return Shapes(
        chunk if unchanged else points.write(bounds[:2], known),
        bounds.T,
        np.where(known, 0, -1).astype(np.int8),
        known.astype(np.int32),
        hilbert.places(bounds.T, rules.target.box),
        tally,
    )


def _at_zero(places: npt.NDArray[np.float64], rules: Rules) -> int:
    # Programs put unknown places at (0, 0). In degrees, that place holds only a buoy.
    return int((places == 0).all(axis=1).sum()) if rules.target.geographic else 0


def _parsed(chunk: pa.Array, rules: Rules, tally: Tally, *, degrees: bool) -> Geometries:
    depth = Limits.from_environment().depth
    if len(deep := nesting.deep_rows(chunk, depth)):
        raise UnfitError(
            f"{len(deep)} geometries are nested more than {depth} deep",
            f"Have the publisher correct them, or raise {setting('depth')} (a setting)",
            deep,
        )
    wkb = chunk.to_numpy(zero_copy_only=False)
    # GEOS fails on curves with a floating point flag set, which makes numpy warn.
    with np.errstate(invalid="ignore"):
        try:
            geometries: Geometries = shapely.from_wkb(wkb)
            # GEOS reads curves inside a collection but cannot process them.
            collections = np.flatnonzero(shapely.get_type_id(geometries) == _COLLECTION)
            if any(curves.may_hide_in(wkb[row]) for row in collections):
                return _read_each(wkb, rules, tally, degrees=degrees)
            return geometries
        except (shapely.errors.ShapelyError, TypeError, NotImplementedError):
            return _read_each(wkb, rules, tally, degrees=degrees)


def _read_each(wkb: npt.NDArray[np.object_], rules: Rules, tally: Tally, *, degrees: bool) -> Geometries:
    # The batch holds geometry that GEOS does not read: curves, surfaces, broken bytes.
    tolerance = curves.TOLERANCE_DEGREES if degrees else curves.TOLERANCE_PLANE
    reading = curves.Reading(tolerance, footprint=rules.footprints)
    out: Geometries = np.full(len(wkb), None, object)
    broken: dict[int, str] = {}
    surfaces: dict[int, str] = {}
    for row, each in enumerate(wkb):
        try:
            out[row] = shapely.from_wkb(each)
            if shapely.get_type_id(out[row]) == _COLLECTION and curves.may_hide_in(each):
                broken[row] = ""
        except (shapely.errors.ShapelyError, TypeError) as error:
            broken[row] = str(error)
        except NotImplementedError:
            broken[row] = ""
        if row not in broken:
            continue
        try:
            out[row] = reading.geometry(each)
            tally.dimensions_dropped += reading.with_measures and not shapely.has_z(out[row])
        except curves.SurfaceError as error:
            surfaces[row] = str(error)
        except curves.CurveError as error:
            broken[row] = broken[row] or str(error)
            continue
        del broken[row]
    if surfaces:
        raise UnfitError(
            f"{len(surfaces)} geometries are surfaces in space, not features of a map (multipatch):"
            f" {next(iter(surfaces.values()))}",
            "Declare processing.surfaces: footprint to publish the area that each covers on the ground, or drop the"
            " rows in processing.sql",
            np.array(list(surfaces)),
        )
    if broken:
        raise UnfitError(
            f"{len(broken)} geometries can't be read: {next(iter(broken.values()))}",
            "Fetch the vintage again, or drop the rows in processing.sql",
            np.array(list(broken)),
        )
    tally.curves_straightened += reading.straightened
    tally.surfaces_flattened += reading.footprints
    return out


def _flattened(geometries: Geometries, *, keep_z: bool) -> Geometries:
    if not keep_z:
        return shapely.force_2d(geometries)
    # GEOS cannot drop only measures; ISO WKB of three dimensions omits the fourth.
    heights = shapely.has_z(geometries)
    out = shapely.force_2d(geometries)
    out[heights] = shapely.from_wkb(shapely.to_wkb(geometries[heights], output_dimension=3, flavor="iso"))
    return out


def _transformed(geometries: Geometries, operation: Operation | None, rules: Rules, tally: Tally) -> Geometries:
    # Lines and areas beyond 180 degrees are cut and moved afterwards; points there are rejected.
    split = rules.split and rules.target.geographic
    geocentric = operation is not None and operation.geocentric
    if geocentric and (flat := ~(shapely.has_z(geometries) | shapely.is_missing(geometries))).any():
        raise UnfitError(
            f"{int(flat.sum())} geometries have two coordinates, and a geocentric CRS has three",
            "Declare the right processing.crs with override_crs, or drop the rows in processing.sql",
            np.flatnonzero(flat),
        )
    coordinates = shapely.get_coordinates(geometries, include_z=geocentric)
    if not len(coordinates):
        return geometries

    def owners() -> npt.NDArray[np.int64]:
        return shapely.get_coordinates(geometries, return_index=True)[1]

    moved = _checked(coordinates, operation, rules, owners, limit=360.0 if split else 180.0)
    if geocentric:
        geometries = shapely.set_coordinates(geometries, moved)
    elif moved is not coordinates:
        geometries = _moved(geometries, moved, keep_z=rules.keep_z)
    if split:
        bounds = shapely.bounds(geometries)
        across = antimeridian.crossing(geometries, bounds)
        tally.antimeridian_split += len(across)
        for row in across:
            geometries[row] = antimeridian.split(geometries[row])
        beyond = np.abs(np.nan_to_num(bounds[:, [0, 2]])).max(axis=1) > 180.0
        beyond[across] = False
        if beyond.any():
            coordinates, of = shapely.get_coordinates(geometries, return_index=True)
            _refuse(coordinates, beyond[of], lambda: of, "are no longitude and latitude")
    return geometries


def _moved(geometries: Geometries, coordinates: npt.NDArray[np.float64], *, keep_z: bool) -> Geometries:
    heights = shapely.has_z(geometries)
    if not keep_z or not heights.any():
        return shapely.set_coordinates(geometries, coordinates)
    of_height = np.repeat(heights, shapely.get_num_coordinates(geometries))
    flat, raised = geometries[~heights], geometries[heights]
    z = shapely.get_coordinates(raised, include_z=True)[:, 2]
    geometries[~heights] = shapely.set_coordinates(flat, coordinates[~of_height])
    geometries[heights] = shapely.set_coordinates(raised, np.column_stack([coordinates[of_height], z]))
    return geometries


def _checked(
    coordinates: npt.NDArray[np.float64],
    operation: Operation | None,
    rules: Rules,
    owners: Callable[[], npt.NDArray[np.int64]],
    *,
    limit: float,
) -> npt.NDArray[np.float64]:
    finite = np.isfinite(coordinates)
    if not finite.all():
        _refuse(coordinates, np.asarray(~finite.all(axis=1)), owners, "are not numbers")
    moved = coordinates if operation is None else operation.transform(coordinates)
    after = "" if operation is None else " after the transformation"
    if not rules.target.geographic:
        _refuse(
            coordinates,
            np.asarray(~np.isfinite(moved).all(axis=1)),
            owners,
            f"are not in the area of {rules.target.crs}{after}",
        )
        return moved
    if not (np.abs(moved[:, :2]) <= (180.0, 90.0)).all():
        moved = np.column_stack([_snapped(moved[:, 0], 180.0), _snapped(moved[:, 1], 90.0), moved[:, 2:]])
        outside = np.asarray(~(np.abs(moved[:, :2]) <= (limit, 90.0)).all(axis=1))
        _refuse(coordinates, outside, owners, f"are no longitude and latitude{after}")
    return moved


def _snapped(values: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.float64]:
    return np.where(np.abs(values) <= limit + _OVERSHOOT, np.clip(values, -limit, limit), values)


def _refuse(
    coordinates: npt.NDArray[np.float64],
    bad: npt.NDArray[np.bool_],
    owners: Callable[[], npt.NDArray[np.int64]],
    fault: str,
) -> None:
    # `owners` returns the row of each coordinate; it is called only for an error.
    if not bad.any():
        return
    wrong = coordinates[bad]
    (x, y), seen = wrong[0, :2], ""
    remedy = (
        "Declare the right processing.crs (with override_crs), declare the markers of unknown places as nulls of their"
        " columns, or drop the rows in processing.sql"
    )
    if (np.abs(wrong[:, :2]) <= (90.0, 180.0)).all():
        seen = ", and look exchanged (latitude first)"
        remedy = f"Exchange processing.longitude and latitude where they are declared. {remedy}"
    raise UnfitError(
        f"{int(bad.sum())} coordinates {fault}, for example ({float(x)!r}, {float(y)!r}){seen}",
        remedy,
        np.unique(owners()[bad]),
    )


def _repair(geometries: Geometries, rules: Rules, tally: Tally) -> None:
    rows = np.flatnonzero(~shapely.is_valid(geometries) & ~shapely.is_missing(geometries))
    # The cut at the antimeridian may leave nothing of a geometry.
    lost = shapely.is_empty(geometries)
    if len(rows):
        before = geometries[rows]
        after, by_lines = repair.repaired(before)
        tally.repaired(before, after)
        tally.repaired_by_linework += int(by_lines.sum())
        tally.collapsed_parts += repair.collapsed_parts(before)
        tally.nested_parts += repair.with_nested_parts(before)
        geometries[rows] = after
        lost[rows] |= shapely.is_empty(after)
    gone = np.flatnonzero(lost)
    if not len(gone):
        return
    if not rules.accept_lost:
        raise UnfitError(
            f"{len(gone)} geometries are invalid, and repair leaves nothing of them (no extent)",
            "Declare processing.lost_geometry: accept to publish them as null, or drop the rows in processing.sql",
            gone,
        )
    tally.repaired_to_nothing += len(gone)
    geometries[gone] = None
