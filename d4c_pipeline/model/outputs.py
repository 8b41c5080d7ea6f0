"""The files made from a dataset's rows, as its YAML declares them under `outputs`.

Making the files belongs to `geoparquet.partition` and `processing.derived`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from d4c_pipeline.model.declared import Declared


class Tiles(Declared):
    """Vector tiles for web maps: one PMTiles file with one layer.

    `attributes`: the output columns in the tiles; by default all columns, none for an empty list. `layer`: its name, by
    default the dataset's id. `min_zoom`, `max_zoom`: Web Mercator zoom levels; the default of `max_zoom` follows from
    the distance between features and is at least 8.
    """

    attributes: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    layer: Annotated[str, Field(min_length=1)] | None = None
    min_zoom: int = Field(default=0, ge=0, le=22)
    max_zoom: Annotated[int, Field(ge=0, le=22)] | None = None

    @model_validator(mode="after")
    def _zooms_are_in_order(self) -> Self:
        if self.max_zoom is not None and self.max_zoom < self.min_zoom:
            raise ValueError("max_zoom is smaller than min_zoom")
        return self


class Partition(Declared):
    """How data that is too large for one file is divided into several files, its parts; smaller data stays one file.

    `by`: an output column of text, whole numbers, dates or booleans (one part per value), or `spatial`: neighbours
    along the Hilbert curve stay together in parts of about `part` megabytes. `over`: the largest size of one file in
    megabytes (10^6 bytes); 0 always divides.
    """

    by: Annotated[str, Field(min_length=1)]
    over: float = Field(default=1000.0, ge=0)
    part: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _parts_of_a_size_are_spatial(self) -> Self:
        if self.part is not None and not self.spatial:
            raise ValueError("part: a column's values decide how large its parts are; the size is for 'by: spatial'")
        if self.by in ("geometry", "bbox"):
            raise ValueError("by: write 'spatial' to cut by location")
        return self

    @property
    def spatial(self) -> bool:
        """Whether the data is divided by location."""
        return self.by == "spatial"

    @property
    def part_megabytes(self) -> float:
        """The approximate size of a part by location: as declared, by default half the largest size of one file."""
        return self.part or (self.over / 2 if self.over else 500.0)

    @property
    def words(self) -> str:
        """The partition in words, for people and for comparing two partitions."""
        return f"by location into parts of about {self.part_megabytes:g} MB" if self.spatial else f"by {self.by}"


class Outputs(Declared):
    """The files of the data, and the files derived from it; every file becomes an artifact of the release.

    `partition`: how large data is divided into several (Geo)Parquet files. `tiles`: PMTiles. `desktop`: files for
    desktop GIS. `style`: a QGIS style (`.qml`) beside the YAML, the default style of the GeoPackage. `csv`: a gzipped
    CSV for spreadsheets, if a spreadsheet can open the data. `thumbnail`: a PNG map. `changes`: every release after the
    first carries the rows that differ from the release that it supersedes (docs/changes.md).
    """

    partition: Partition | None = None
    tiles: Tiles | None = None
    desktop: tuple[Literal["geopackage", "flatgeobuf"], ...] = ()
    style: str | None = None
    csv: bool = False
    thumbnail: bool = False
    changes: bool = True

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if len(set(self.desktop)) != len(self.desktop):
            raise ValueError("desktop: a format is listed twice")
        if self.style is not None:
            if Path(self.style).is_absolute() or ".." in Path(self.style).parts or Path(self.style).suffix != ".qml":
                raise ValueError("style: name a .qml file in the dataset's own folder")
            if "geopackage" not in self.desktop:
                raise ValueError("style: the GeoPackage carries it, so list 'geopackage' under desktop")
        return self
