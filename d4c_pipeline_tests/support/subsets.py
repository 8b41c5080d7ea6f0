"""Subsets of files as a test asks for them, and their readers: other programs than those that wrote them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import geopandas
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from d4c_pipeline.services.subset import Chosen, Engine, Plan, Sources, plan, read_request, write


class Subsets:
    """Subsets of Parquet files that stand for releases, in a folder of results."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder, self._sources = engine, folder, Sources(engine)

    def plan(self, files: Path | str | list[Path], **inputs: Any) -> Plan:
        """The plan of a subset of files or an address; `inputs` as in a request, `bbox_crs` for `bbox-crs`."""
        paths = tuple(map(str, files if isinstance(files, list) else [files]))
        rows = 0 if isinstance(files, str) else sum(pq.read_metadata(path).num_rows for path in paths)
        release = Chosen(
            "ca_x_v1.0.0", "places", "2021", "1.0.0", paths, ("https://data.example.ca/a.parquet",), rows, paths[0],
            doi="10.5281/zenodo.1", licence="OGL-Canada-2.0", title="Places, 2021, v1.0.0",
        )  # fmt: skip
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        return plan(read_request({"dataset": "places", **named}), release, self._sources.of(paths, paths[0]))

    def made(self, files: Path | str | list[Path], **inputs: Any) -> Path:
        """The file of a subset."""
        planned = self.plan(files, **inputs)
        path = self.folder / planned.file_name
        write(planned, self.engine, path)
        return path

    def frame(self, files: Path | str | list[Path], **inputs: Any) -> Any:
        """The rows of a subset, as geopandas or pandas reads its file."""
        return read(self.made(files, **inputs), str(inputs.get("format", "parquet")))


def read(path: Path, format_name: str) -> Any:
    """Read the file of a result: a GeoDataFrame, or a DataFrame without geometry."""
    match format_name:
        case "csv":
            frame = pandas.read_csv(io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False, na_values=[])
            if "geometry" not in frame:
                return frame
            shapes = shapely.from_wkt([text or None for text in frame["geometry"]])
            return geopandas.GeoDataFrame(frame.drop(columns="geometry"), geometry=shapes)
        case "arrow":
            table = pa.ipc.open_stream(path.read_bytes()).read_all()
            has_geometry = any(b"ARROW:extension:name" in (field.metadata or {}) for field in table.schema)
            return geopandas.GeoDataFrame.from_arrow(table) if has_geometry else table.to_pandas()
        case "parquet" | "geoparquet":
            has_geometry = b"geo" in (pq.read_schema(path).metadata or {})
            return geopandas.read_parquet(path) if has_geometry else pandas.read_parquet(path)
        case _:
            return geopandas.read_file(path)
