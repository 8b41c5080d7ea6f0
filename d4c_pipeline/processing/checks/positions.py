"""The check of the position of features, by the report of the build and the bounds of all; it does not read the file.

`spatial` checks whether each geometry is valid and within a declared extent.
"""

from __future__ import annotations

from d4c_pipeline.processing.checks.verdict import Built, Outcome, Verdict

# Canada with its sea: west, south, east, north.
_CANADA = (-142.0, 40.0, -47.0, 84.0)
# A datum shift is told when a grid would make it better by so many metres: NAD27 with 20 m instead of 2, but not NAD83
# with 4 m instead of 1.5.
_COARSER_BY = 5.0

_SKIP = "or declare checks.skip: [positions_plausible] if it is right"
_Box = tuple[float, float, float, float]


def positions_plausible(name: str, built: Built) -> Verdict:
    """Coordinates are neither exchanged nor without their sign, none is (0, 0), and the datum shift is fine enough."""
    report, bounds = built.summary.report, built.summary.bounds
    found: list[tuple[Outcome, str, str]] = []
    of_canada = built.dataset.name.region.split("-")[0] == "ca"
    if bounds is not None and of_canada and (wrong := _misplaced(bounds)) is not None:
        box = ", ".join(f"{side:.6g}" for side in bounds)
        found.append((Outcome.FAILURE, f"all lie within {box}: {wrong[0]}", wrong[1]))
    if zeros := report.get("points_at_zero", 0):
        found.append(
            (
                Outcome.WARNING,
                f"{zeros} points lie at longitude 0, latitude 0",
                "declare what stands for an unknown place as nulls of its columns, or drop the rows in processing.sql",
            )
        )
    better, accuracy = report.get("operation_better_with_grid"), report.get("operation_accuracy_m")
    if better and accuracy is not None and accuracy - better["accuracy_m"] >= _COARSER_BY:
        grids, finer = ", ".join(better["grids"]), better["accuracy_m"]
        found.append(
            (
                Outcome.WARNING,
                f"the datum shift is accurate to {accuracy:g} m; with {grids} it would be to {finer:g} m",
                "have the publisher deliver another coordinate reference system where that matters",
            )
        )
    remedy = "; ".join(each[2] for each in found)
    return Verdict(
        name,
        max((each[0] for each in found), default=Outcome.PASS),
        "features where they can be, as exactly as their coordinate reference system allows",
        "; ".join(each[1] for each in found) or "nothing that speaks against it",
        (),
        remedy[:1].upper() + remedy[1:],
    )


def _misplaced(bounds: _Box) -> tuple[str, str] | None:
    # What is wrong with data of Canada that lies in the box, and what to do.
    west, south, east, north = bounds
    if _within((south, west, north, east)):
        return (
            "longitude and latitude look exchanged",
            f"exchange processing.longitude and latitude, {_SKIP}",
        )
    if _within((-east, south, -west, north)):
        return (
            "longitudes look as if their sign were missing",
            f"make the geometry in processing.sql with the sign, {_SKIP}",
        )
    return None


def _within(box: _Box) -> bool:
    west, south, east, north = _CANADA
    return west <= box[0] and south <= box[1] and box[2] <= east and box[3] <= north
