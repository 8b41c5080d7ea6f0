"""Checks against the newest published release: rows and bounds, by the thresholds of the dataset.

`chain` selects that release; `processing.compare` finds the differences that decide the version.
"""

from __future__ import annotations

from d4c_pipeline.processing.checks.verdict import Built, Outcome, Verdict

NAMES = frozenset({"rows_against_previous", "bounds_against_previous"})
"""The checks of this module."""
_SIDES = ("west", "south", "east", "north")
# Degrees, about 100 m: shares of a shorter side mean nothing, and a single point has no side.
_SMALLEST_SIDE = 0.001


def rows_against_previous(name: str, built: Built) -> Verdict:
    """The number of rows changed no more than the dataset allows."""
    previous, now, limits = built.previous, built.summary.rows, built.dataset.checks.rows
    if previous is None:
        return Verdict(name, Outcome.PASS, "no comparison: no release is published yet", f"{now} rows")
    if previous.rows == 0:
        outcome = Outcome.WARNING if now else Outcome.PASS
        return Verdict(
            name,
            outcome,
            f"0 rows as in {previous.release}",
            f"{now} rows",
            (),
            "Confirm that the rows are intended" if outcome else "",
        )
    change = (now - previous.rows) / previous.rows
    if change < 0:
        outcome = Outcome.beyond(-change, warning=limits.shrink_warning, failure=limits.shrink_failure)
    else:
        outcome = Outcome.beyond(change, warning=limits.growth_warning, failure=limits.growth_failure)
    return Verdict(
        name,
        outcome,
        f"about {previous.rows} rows as in {previous.release}; warning beyond {-limits.shrink_warning:.2%} or"
        f" {limits.growth_warning:+.2%}, failure beyond {-limits.shrink_failure:.2%} or {limits.growth_failure:+.2%}",
        f"{now} rows ({change:+.2%})",
        (),
        "Compare with the source; if intended, raise the threshold under checks.rows" if outcome else "",
    )


def bounds_against_previous(name: str, built: Built) -> Verdict:
    """No side of the bounds moved further than the dataset allows."""
    previous, now, limits = built.previous, built.summary.bounds, built.dataset.checks.bounds
    if previous is None:
        return Verdict(name, Outcome.PASS, "no comparison: no release is published yet", _words(now))
    before = previous.bounds
    if before is None or now is None:
        outcome = Outcome.PASS if before is now else Outcome.FAILURE if now is None else Outcome.WARNING
        return Verdict(
            name,
            outcome,
            f"{_words(before)} as in {previous.release}",
            _words(now),
            (),
            "Confirm that the geometry was read" if outcome else "",
        )
    longer = max(before[2] - before[0], before[3] - before[1], _SMALLEST_SIDE)
    moves = {side: (now[n] - before[n]) / longer for n, side in enumerate(_SIDES)}
    outcome = Outcome.beyond(max(map(abs, moves.values())), warning=limits.move_warning, failure=limits.move_failure)
    moved = [side for side in _SIDES if abs(moves[side]) > limits.move_warning]
    return Verdict(
        name,
        outcome,
        f"{_words(before)} as in {previous.release}; warning beyond {limits.move_warning:.2%} of {longer:.6g} degrees,"
        f" failure beyond {limits.move_failure:.2%}",
        _words(now),
        [
            {"side": side, "before": before[_SIDES.index(side)], "now": now[_SIDES.index(side)],
             "moved": round(moves[side], 6)}
            for side in moved
        ],
        "Compare with the source; if intended, raise the threshold under checks.bounds" if outcome else "",
    )  # fmt: skip


def _words(bounds: tuple[float, float, float, float] | None) -> str:
    if bounds is None:
        return "no bounds"
    return ", ".join(f"{side} {value:.6g}" for side, value in zip(_SIDES, bounds, strict=True))
