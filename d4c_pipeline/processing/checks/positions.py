"""The check of the position of features, by the report and the bounds of the build; it does not read the file.

`spatial` checks whether each geometry is valid and within a declared extent.
"""

from __future__ import annotations

from d4c_pipeline.processing.checks.verdict import Built, Outcome, Verdict

# Canada with its waters: west, south, east, north.
_CANADA = (-142.0, 40.0, -47.0, 84.0)
# A datum shift is reported if a grid improves it by at least this many metres: NAD27 with 20 m instead of 2, but not
# NAD83 with 4 m instead of 1.5.
_COARSER_BY = 5.0

_SKIP = "or declare checks.skip: [positions_plausible] if the data is right"
_Box = tuple[float, float, float, float]


def positions_plausible(name: str, built: Built) -> Verdict:
    """No coordinates are swapped, lack their sign or are (0, 0), and the datum shift is accurate enough."""
    report, bounds = built.summary.report, built.summary.bounds
    found: list[tuple[Outcome, str, str]] = []
    of_canada = built.dataset.name.region.split("-")[0] == "ca"
    if bounds is not None and of_canada and (wrong := _misplaced(bounds)) is not None:
        box = ", ".join(f"{side:.6g}" for side in bounds)
        found.append((Outcome.FAILURE, f"all features lie within {box}: {wrong[0]}", wrong[1]))
    if zeros := report.get("points_at_zero", 0):
        found.append(
            (
                Outcome.WARNING,
                f"{zeros} points lie at longitude 0, latitude 0",
                "declare the markers of unknown places as nulls of their columns, or drop the rows in processing.sql",
            )
        )
    better, accuracy = report.get("operation_better_with_grid"), report.get("operation_accuracy_m")
    if better and accuracy is not None and accuracy - better["accuracy_m"] >= _COARSER_BY:
        grids, finer = ", ".join(better["grids"]), better["accuracy_m"]
        found.append(
            (
                Outcome.WARNING,
                f"the datum shift is accurate to {accuracy:g} m; {grids} would make it accurate to {finer:g} m",
                "if that matters, request the data in another coordinate reference system from the publisher",
            )
        )
    remedy = "; ".join(each[2] for each in found)
    return Verdict(
        name,
        max((each[0] for each in found), default=Outcome.PASS),
        "plausible positions, as accurate as the coordinate reference system allows",
        "; ".join(each[1] for each in found) or "no faults",
        (),
        remedy[:1].upper() + remedy[1:],
    )


def _misplaced(bounds: _Box) -> tuple[str, str] | None:
    # The fault of Canadian data with these bounds, and the remedy.
    west, south, east, north = bounds
    if _within((south, west, north, east)):
        return (
            "longitude and latitude look swapped",
            f"swap processing.longitude and latitude, {_SKIP}",
        )
    if _within((-east, south, -west, north)):
        return (
            "longitudes seem to lack their sign",
            f"build the geometry with the sign in processing.sql, {_SKIP}",
        )
    return None


def _within(box: _Box) -> bool:
    west, south, east, north = _CANADA
    return west <= box[0] and south <= box[1] and box[2] <= east and box[3] <= north
