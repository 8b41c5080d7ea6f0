"""Previews data for operators: first rows and profile as Markdown, a picture of the geometry, large and small.

Showing the preview in the UI belongs to `orchestration`; `derived` makes the picture an artifact.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from PIL import Image, ImageDraw

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import DataError

_LONGEST_CELL = 60
_MOST_COLUMNS = 30
_MOST_PROFILED = 200
_BLOCKS = "·▁▂▃▄▅▆▇█"
_MOST_FEATURES = 50_000
_RADII = ((300, 5), (3_000, 3), (20_000, 2))  # features at most, pixels before the picture is made smaller
_BACKGROUND, _FILL, _LINE, _POINT = (255, 255, 255), (198, 219, 239), (33, 102, 172), (178, 24, 43)
# The picture is drawn larger and scaled down, because Pillow does not smooth lines.
_OVERSAMPLING = 2


def preview_markdown(data: Path, rows: int = 5) -> str:
    """Return the first `rows` rows as a Markdown table: geometry as type and vertex count, without the covering.

    Long texts are cut after 60 characters, columns after the thirtieth. Raises DataError when `data` is not readable.
    """
    parquet, geo = _open(data)
    covering = {corner[0] for corner in geo.get("covering", {}).get("bbox", {}).values()}
    names = [name for name in parquet.schema_arrow.names if name not in covering]
    shown = names[:_MOST_COLUMNS]
    batch = next(parquet.iter_batches(batch_size=rows, columns=shown), None)
    columns = {name: _values(batch.column(name)) for name in shown} if batch is not None else {}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    more = ["…"] if len(names) > len(shown) else []
    lines = ["| " + " | ".join([*map(_cell, shown), *more]) + " |", "|" + " --- |" * (len(shown) + len(more))]
    for record in records:
        cells = [_geometry_cell(record[name]) if name == geo.get("name") else _cell(record[name]) for name in shown]
        lines.append("| " + " | ".join([*cells, *more]) + " |")
    return "\n".join(lines) + "\n"


def _values(column: pa.Array) -> list[Any]:
    # Arrow's days and times reach beyond the years 1 to 9999 of Python's.
    try:
        return column.to_pylist()
    except (OverflowError, ValueError):
        return column.cast(pa.string()).to_pylist() if not pa.types.is_nested(column.type) else ["…"] * len(column)


def profile_markdown(profile: Mapping[str, Any]) -> str:
    """Return a profile (in the form of `profile.json`) as Markdown: a line per column, then the facts of the geometry.

    A line has type, nulls, distinct values, minimum, maximum, the three most frequent values, and the histogram in
    blocks. Columns after the 200th are left out.
    """
    header = ("column", "type", "nulls", "distinct", "min", "max", "most frequent", "histogram")
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    columns: Mapping[str, Mapping[str, Any]] = profile["columns"]
    for name, facts in list(columns.items())[:_MOST_PROFILED]:
        top = ", ".join(f"{_cell(each['value'])} ({each['count']})" for each in facts.get("top", ())[:3])
        plain = (_cell(facts.get(fact)) for fact in ("type", "nulls", "distinct", "min", "max"))
        lines.append("| " + " | ".join([_cell(name), *plain, top, _blocks(facts.get("histogram"))]) + " |")
    if len(columns) > _MOST_PROFILED:
        lines.append(f"\nand {len(columns) - _MOST_PROFILED} more columns")
    if geometry := profile.get("geometry"):
        types = ", ".join(f"{count} {kind}" for kind, count in geometry["types"].items()) or "none"
        lines.append(
            f"\nGeometry: {types}; {geometry['nulls']} rows without; {geometry['vertices']} vertices,"
            f" {geometry['most_vertices']} at most in one"
        )
    return "\n".join(lines) + "\n"


def _blocks(histogram: Mapping[str, Any] | None) -> str:
    if not histogram:
        return ""
    most = max(histogram["counts"])
    # A bin with values is never drawn as empty.
    return "".join(_BLOCKS[math.ceil(count / most * (len(_BLOCKS) - 1))] for count in histogram["counts"])


def map_png(
    data: Files, width: int = 360, height: int | None = None, *, around: Files | None = None, fit_dots: bool = False
) -> bytes:
    """Return a PNG, `width` pixels wide, of the geometry in all files of `data`; empty bytes when there is none.

    Degrees are drawn unprojected, with the height scaled by the cosine of the middle latitude. With `height` the
    picture has that height and the geometry is centred. Of more than 50,000 features every n-th is drawn. The same data
    gives the same bytes. `around`: files that the frame contains as well, so that two pictures can be compared.
    `fit_dots`: points are the larger the fewer features there are; a release's thumbnail has small ones, so that its
    bytes stay. Raises DataError when a file is not readable.
    """
    opened = [_open(file) for file in listed(data)]
    boxes = [geo["bbox"] for _, geo in opened if geo.get("bbox")]
    if not boxes:
        return b""
    others = [_open(file) for file in listed(around)] if around is not None else []
    boxes += [geo["bbox"] for _, geo in others if geo.get("bbox")]
    west, south, east, north = zip(*boxes, strict=True)
    bounds = [min(west), min(south), max(east), max(north)]
    frame = _Frame.of(bounds, width * _OVERSAMPLING, height and height * _OVERSAMPLING)
    image = Image.new("RGB", (frame.width, frame.height), _BACKGROUND)
    rows = sum(parquet.metadata.num_rows for parquet, _ in opened)
    step = math.ceil(rows / _MOST_FEATURES)
    radius = next((radius for most, radius in _RADII if rows <= most), 1) if fit_dots else 1
    draw = ImageDraw.Draw(image)
    offset = 0
    for parquet, geo in opened:
        for batch in parquet.iter_batches(batch_size=65_536, columns=[geo["name"]]):
            values = batch.column(0).to_numpy(zero_copy_only=False)[-offset % step :: step]
            offset += len(batch)
            shapes = shapely.from_wkb(values[[value is not None for value in values]])
            _draw(draw, frame, shapely.get_parts(shapes), radius)
    out = io.BytesIO()
    image.resize((width, height or max(1, round(frame.height / _OVERSAMPLING))), Image.Resampling.LANCZOS).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


def small_picture(png: bytes, limit: int) -> bytes:
    """Return a picture as WebP of at most `limit` bytes, as wide as fits; empty if 60 pixels do not fit."""
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    for width in range(min(picture.width, 320), 59, -20):
        height = max(1, round(picture.height * width / picture.width))
        out = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(out, "WEBP", quality=10, method=6)
        if out.tell() <= limit:
            return out.getvalue()
    return b""


class _Frame:
    """The size of the picture in pixels, and the mapping of longitude and latitude to pixels."""

    def __init__(
        self, origin: tuple[float, float], scale: tuple[float, float], size: tuple[int, int], margin: float
    ) -> None:
        self.origin, self.scale, self.margin = origin, scale, margin
        self.width, self.height = size

    @classmethod
    def of(cls, bounds: list[float], width: int, height: int | None = None) -> _Frame:
        west, south, east, north = bounds
        shrink = max(math.cos(math.radians((south + north) / 2)), 0.05)
        margin = width * 0.03
        # A single point gets a frame; the height of a thin strip stays between a quarter and twice the width.
        across, up = max((east - west) * shrink, 1e-6), max(north - south, 1e-6)
        height = height or round(min(max(width * up / across, width * 0.25), width * 2.0))
        unit = min((width - 2 * margin) / across, (height - 2 * margin) / up)
        left = (west + east) / 2 - width / 2 / (unit * shrink)
        top = (south + north) / 2 + height / 2 / unit
        return cls((left, top), (unit * shrink, unit), (width, height), margin)

    def pixels(self, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x = (coordinates[:, 0] - self.origin[0]) * self.scale[0]
        y = (self.origin[1] - coordinates[:, 1]) * self.scale[1]
        return np.column_stack([x, y])


def _draw(draw: ImageDraw.ImageDraw, frame: _Frame, parts: npt.NDArray[np.object_], radius: int) -> None:
    types = shapely.get_type_id(parts)
    # Collections are split one level; geometry nested deeper is not drawn.
    for polygon in parts[types == 3]:
        shell = _thinned(frame, shapely.get_coordinates(polygon.exterior))
        if len(shell) > 2:
            draw.polygon(shell, fill=_FILL)
        for hole in polygon.interiors:
            ring = _thinned(frame, shapely.get_coordinates(hole))
            if len(ring) > 2:
                draw.polygon(ring, fill=_BACKGROUND)
                draw.line(ring, fill=_LINE)
        if len(shell) > 1:
            draw.line(shell, fill=_LINE)
        else:
            draw.point(shell, fill=_LINE)
    for line in parts[(types == 1) | (types == 2)]:
        draw.line(_thinned(frame, shapely.get_coordinates(line)), fill=_LINE, width=_OVERSAMPLING)
    dots = np.unique(frame.pixels(shapely.get_coordinates(parts[types == 0])).astype(np.int64), axis=0)
    for x, y in dots.tolist():
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=_POINT)


def _thinned(frame: _Frame, coordinates: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    pixels = frame.pixels(coordinates).round()
    moved = np.ones(len(pixels), np.bool_)
    moved[1:] = (pixels[1:] != pixels[:-1]).any(axis=1)
    return [(x, y) for x, y in pixels[moved].tolist()]


def _open(data: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    try:
        parquet = pq.ParquetFile(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{data.name} is not a readable Parquet file: {error}", "Build it again") from error
    geo: dict[str, Any] = json.loads((parquet.schema_arrow.metadata or {}).get(b"geo", b"{}"))
    name = geo.get("primary_column")
    return parquet, {"name": name, **geo.get("columns", {}).get(name, {})}


def _geometry_cell(wkb: bytes | None) -> str:
    if wkb is None:
        return ""
    shape = shapely.from_wkb(wkb)
    count = int(shapely.get_num_coordinates(shape))
    return f"{shape.geom_type}, {count} {'vertex' if count == 1 else 'vertices'}"


def _cell(value: Any) -> str:
    text = "" if value is None else value.hex() if isinstance(value, bytes) else str(value)
    text = " ".join(text.split())
    if len(text) > _LONGEST_CELL:
        text = text[: _LONGEST_CELL - 1] + "…"
    # Escape the special characters of Markdown and HTML.
    for special, escaped in (("\\", "\\\\"), ("|", "\\|"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("`", "\\`")):
        text = text.replace(special, escaped)
    return text
