"""What operators see: rows as Markdown, geometry as a picture."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from PIL import Image

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.processing.preview import map_png, preview_markdown

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def built(declare: Declare, tmp_path: Path, frame: geopandas.GeoDataFrame) -> Path:
    frame.to_file(tmp_path / "f.gpkg")
    return build(declare(), VINTAGE, [tmp_path / "f.gpkg"], tmp_path / "out").data


def colours(png: bytes) -> tuple[tuple[int, int], dict[tuple[int, ...], int]]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    counted = image.getcolors(image.width * image.height) or []
    return image.size, {colour: count for count, colour in counted}  # type: ignore[misc]


def test_rows_are_shown_with_geometry_in_words(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,x,y\n1,a|b<c>,-75,45\n2,,,\n3," + "é" * 100 + ",-70,45\n")
    data = build(declare(longitude="x", latitude="y"), VINTAGE, [tmp_path / "a.csv"], tmp_path).data
    lines = preview_markdown(data, rows=3).splitlines()
    assert lines[0] == "| id | text | x | y | geometry |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert r"| 1 | a\|b&lt;c&gt; | -75 | 45 | Point, 1 vertex |" in lines
    assert lines[-1] == "| 2 |  |  |  |  |"
    assert f"| 3 | {'é' * 59}… | -70 | 45 | Point, 1 vertex |" in lines


def test_a_polygon_is_filled_and_its_hole_is_not(declare: Declare, tmp_path: Path) -> None:
    square = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], holes=[[(1, 1), (1, 3), (3, 3), (3, 1)]])
    size, counts = colours(
        map_png(built(declare, tmp_path, geopandas.GeoDataFrame(geometry=[square], crs=4326)), width=100)
    )
    assert size == (100, 100)
    filled = counts[198, 219, 239]
    # Three quarters of the square, which has nine tenths of the picture, less what the outlines cover.
    assert 0.42 < filled / 10_000 < 0.6


def test_a_table_has_no_picture(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    data = build(declare(kind="table"), VINTAGE, [tmp_path / "a.csv"], tmp_path).data
    assert map_png(data) == b""
    assert preview_markdown(data) == "| id |\n| --- |\n| 1 |\n"


def test_a_single_point_is_drawn(declare: Declare, tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(geometry=[shapely.Point(-75, 45)], crs=4326)
    _, counts = colours(map_png(built(declare, tmp_path, frame)))
    assert (178, 24, 43) in counts or len(counts) > 1
    _, fitted = colours(map_png(tmp_path / "out" / "data.parquet", fit_dots=True))
    reddish = sum(count for (_, green, _), count in fitted.items() if green < 140)
    assert 25 <= reddish <= 49, "a square of five to seven pixels, which can be seen"


def test_many_points_are_sampled(declare: Declare, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    frame = geopandas.GeoDataFrame(
        geometry=shapely.points(random.uniform(-76, -75, 120_000), random.uniform(45, 46, 120_000)), crs=4326
    )
    data = built(declare, tmp_path, frame)
    begin = time.monotonic()
    _, counts = colours(map_png(data))
    assert time.monotonic() - begin < 5
    assert len(counts) > 1


def test_days_beyond_the_years_of_python_are_shown(tmp_path: Path) -> None:
    # Year 0000, which Arrow has and Python has not, stopped a build on a bug.
    days = pa.array([-719528, 0, None], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"n": [1, 2, 3], "d": days}), tmp_path / "a.parquet")
    shown = preview_markdown(tmp_path / "a.parquet").splitlines()
    assert shown[2:] == ["| 1 | 0000-01-01 |", "| 2 | 1970-01-01 |", "| 3 |  |"]
