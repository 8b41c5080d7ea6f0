"""Draw images/rooms.svg, the rooms of the package by layers, from its imports; `--check` only compares.

The layers come from the import contract in pyproject.toml, the arrows from the import statements of each module. An
arrow that longer paths of arrows imply is left out: about nine in ten of them are.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "d4c_pipeline"
PICTURE = Path(__file__).with_name("images") / "rooms.svg"
# Columns of rooms that are alone in their layer, where the middle would put them in the way of arrows.
_COLUMNS = {"definitions": 0.5, "upkeep": 2, "geometry": 1, "tables": 1, "metadata": 2.5}
_WIDTH, _HEIGHT, _GAP, _ROW, _MARGIN = 118, 34, 26, 74, 20


def layers() -> list[list[str]]:
    """Return the rooms of each layer, the uppermost first, as the import contract declares them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    declared = next(each for each in contracts if each["type"] == "layers" and each["containers"] == [PACKAGE])
    rows = [[room.strip(" ()") for room in line.split("|")] for line in declared["layers"]]
    there = {path.stem for path in (ROOT / PACKAGE).iterdir()}
    return [row for row in ([room for room in line if room in there] for line in rows) if row]


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    rooms = {room for row in layers() for room in row}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for file in (ROOT / PACKAGE).rglob("*.py"):
        room = file.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")
        if room not in rooms:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found[room] |= {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")} & rooms - {room}
    return found


def direct(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the arrows that no longer path of arrows implies."""

    def reached(room: str) -> set[str]:
        return found[room] | {further for below in found[room] for further in reached(below)}

    return sorted(
        (room, below)
        for room, all_below in found.items()
        for below in all_below
        if not any(below in reached(other) for other in all_below - {below})
    )


def drawing() -> str:
    """Return the picture: a row for each layer, and an arrow from a room to one that it imports."""
    rows = layers()
    widest = max(len(row) for row in rows) * (_WIDTH + _GAP) - _GAP
    place: dict[str, tuple[float, int]] = {}
    for number, row in enumerate(rows):
        left = (widest - len(row) * (_WIDTH + _GAP) + _GAP) / 2 / (_WIDTH + _GAP)
        for column, room in enumerate(row):
            place[room] = (_MARGIN + _COLUMNS.get(room, left + column) * (_WIDTH + _GAP), _MARGIN + number * _ROW)
    width, height = widest + 2 * _MARGIN, _MARGIN * 2 + (len(rows) - 1) * _ROW + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img">',
        "<style>text {font: 14px sans-serif; fill: #12283f; text-anchor: middle}</style>",
        "<title>The rooms of d4c_pipeline and what they import</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<marker id="tip" markerWidth="7" markerHeight="7" refX="6" refY="3.5" orient="auto">',
        '<path d="M0 0.5 L6.5 3.5 L0 6.5 Z" fill="#5b6b7b"/></marker>',
    ]
    for room, below in direct(imports()):
        (x1, y1), (x2, y2) = place[room], place[below]
        x1, x2, y1 = x1 + _WIDTH / 2, x2 + _WIDTH / 2, y1 + _HEIGHT
        bend = max((y2 - y1) / 2, 12)
        colour = "#5b6b7b" if y2 - y1 < _ROW else "#b3bfca"  # an arrow past a layer stays in the background
        parts.append(
            f'<path d="M{x1:g} {y1:g} C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2 - 1:g}" fill="none" '
            f'stroke="{colour}" stroke-width="1.2" marker-end="url(#tip)"/>'
        )
    for room, (x, y) in place.items():
        parts.append(
            f'<rect x="{x:g}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="#e8f0f8" stroke="#2c5d8f"/>'
        )
        parts.append(f'<text x="{x + _WIDTH / 2:g}" y="{y + 22}">{room}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("rooms.svg is stale: run docs/draw_rooms.py" if PICTURE.read_text("utf-8") != drawing() else 0)
    PICTURE.write_text(drawing(), "utf-8")
