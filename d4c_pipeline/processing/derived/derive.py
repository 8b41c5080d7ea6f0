"""Makes all derived files that a dataset declares, in one call after the build.

Each format has its own module. Names in a release belong to `chain`, the effect on the version to `model.bumps`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from d4c_pipeline.files.scratch import put_in_place, workspace
from d4c_pipeline.model.data_files import Files
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, DefinitionError
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing import preview
from d4c_pipeline.processing.derived import desktop, text, tiles
from d4c_pipeline.processing.derived.finished import Finished
from d4c_pipeline.sandbox import activity
from d4c_pipeline.tables.gdal import pyogrio

THUMBNAIL_PIXELS = 600
STEM = "data"

_Counts = tuple[int | None, int]  # rows that the file holds, rows that it leaves out
# Suffix of the file, after the name of the release -> its role and the number of its recipe. Raise the number when a
# code change makes different files of the same data and options: new releases follow from it.
_KINDS = {
    ".pmtiles": (ArtifactRole.TILES, 2),
    ".gpkg": (ArtifactRole.DESKTOP, 1),
    ".fgb": (ArtifactRole.DESKTOP, 1),
    ".csv.gz": (ArtifactRole.DESKTOP, 1),
    "_thumbnail.png": (ArtifactRole.THUMBNAIL, 1),
}


@dataclass(frozen=True)
class Derived:
    """A file derived from the data. Its name in a release is the release's name plus `suffix`.

    `rows`: the rows that it holds, None where rows have no meaning (tiles of low zooms hold fewer). `left_out`: rows
    without geometry, which its format cannot hold.
    """

    path: Path
    role: ArtifactRole
    suffix: str
    rows: int | None
    left_out: int = 0


def check(dataset: Dataset) -> None:
    """Verify before the work that the declared files can be made.

    Raises DefinitionError for a missing or invalid style, PermanentError when tippecanoe is missing.
    """
    if dataset.outputs.tiles is not None:
        tiles.tippecanoe()
    _style(dataset)


def parameters(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return the options of each declared file by suffix, without the versions of tools."""
    outputs = dataset.outputs
    chosen: dict[str, dict[str, Any]] = {}
    if outputs.tiles is not None:
        chosen[".pmtiles"] = outputs.tiles.model_dump(mode="json")
    if "geopackage" in outputs.desktop:
        style = _style(dataset)
        chosen[".gpkg"] = {"style_sha256": style and hashlib.sha256(style.encode()).hexdigest()}
    if "flatgeobuf" in outputs.desktop:
        chosen[".fgb"] = {}
    if outputs.csv:
        chosen[".csv.gz"] = {}
    if outputs.thumbnail:
        chosen["_thumbnail.png"] = {"pixels": THUMBNAIL_PIXELS}
    return {suffix: {"recipe": _KINDS[suffix][1], **choice} for suffix, choice in chosen.items()}


def tools() -> dict[str, str]:
    """Return the versions of the programs that only derived files use."""
    try:
        return {"tippecanoe": version("tippecanoe")}
    except PackageNotFoundError:
        return {}


def derive(data: Files, dataset: Dataset, vintage: Vintage, into: Path) -> tuple[Derived, ...]:
    """Make the files that `dataset.outputs` declares from the finished `data`, as `data<suffix>` in folder `into`.

    The same data, options and library versions give the same bytes. Files of an earlier call are replaced atomically,
    one by one, or removed if they are no longer declared. Raises DataError for a file that cannot be made of this
    data, StorageError when a write fails, and as `check` does.
    """
    check(dataset)
    declared = parameters(dataset)
    with workspace(into) as work:
        made = _make(declared, Finished.open(data), dataset, vintage, work) if declared else {}
        for suffix in _KINDS:
            target = into / f"{STEM}{suffix}"
            if suffix in made:
                put_in_place(work / target.name, target)
            else:
                target.unlink(missing_ok=True)
    return tuple(
        Derived(into / f"{STEM}{suffix}", _KINDS[suffix][0], suffix, *counts) for suffix, counts in made.items()
    )


def _make(
    suffixes: Iterable[str], data: Finished, dataset: Dataset, vintage: Vintage, work: Path
) -> dict[str, _Counts]:
    made: dict[str, _Counts] = {}
    for suffix in suffixes:
        activity.now(f"making {STEM}{suffix}")
        made[suffix] = _MAKERS[suffix](work / f"{STEM}{suffix}", data, dataset, vintage)
    return made


def _tiles(path: Path, data: Finished, dataset: Dataset, vintage: Vintage) -> _Counts:
    if dataset.outputs.tiles is None:
        raise ValueError("no tiles are declared")
    credit = dataset.attribution
    rows = tiles.write_pmtiles(
        path,
        data,
        dataset.outputs.tiles,
        layer=dataset.id,
        title=dataset.title.en,
        description=dataset.description.en,
        attribution=credit.en if credit else ", ".join(party.name for party in dataset.creators),
        moment=vintage.start,
        work=path.parent,
    )
    return None, data.rows - rows


def _geopackage(path: Path, data: Finished, dataset: Dataset, vintage: Vintage) -> _Counts:
    desktop.write_geopackage(
        path, data, layer=dataset.id, title=dataset.title.en, moment=vintage.start, style=_style(dataset)
    )
    return _counted(path, dataset.id, data.rows), 0


def _flatgeobuf(path: Path, data: Finished, dataset: Dataset, vintage: Vintage) -> _Counts:
    if data.bounds is None:
        raise DataError("Data without geometry makes no FlatGeobuf", "Remove flatgeobuf from outputs.desktop")
    rows = desktop.write_flatgeobuf(path, data, layer=dataset.id, title=dataset.title.en, moment=vintage.start)
    return _counted(path, dataset.id, rows), data.rows - rows


def _csv(path: Path, data: Finished, _dataset: Dataset, _vintage: Vintage) -> _Counts:
    text.write_csv(path, data)
    return data.rows, 0


def _thumbnail(path: Path, data: Finished, _dataset: Dataset, _vintage: Vintage) -> _Counts:
    picture = preview.map_png(data.paths, THUMBNAIL_PIXELS, height=THUMBNAIL_PIXELS)
    if not picture:
        raise DataError("Data without geometry makes no thumbnail", "Remove outputs.thumbnail")
    path.write_bytes(picture)
    return None, 0


_MAKERS: dict[str, Callable[[Path, Finished, Dataset, Vintage], _Counts]] = {
    ".pmtiles": _tiles,
    ".gpkg": _geopackage,
    ".fgb": _flatgeobuf,
    ".csv.gz": _csv,
    "_thumbnail.png": _thumbnail,
}


def _counted(path: Path, layer: str, expected: int) -> int:
    found = pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"]
    if found != expected:
        raise DataError(f"{path.name} holds {found} rows, not the {expected} that were written", "Report this bug")
    return expected


def _style(dataset: Dataset) -> str | None:
    name = dataset.outputs.style
    if name is None:
        return None
    file = (dataset.folder or Path()) / name
    try:
        style = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(
            f"The style {file} can't be read: {error}", "Put the .qml file beside the YAML"
        ) from error
    if "<qgis" not in style:
        raise DefinitionError(
            f"{file} is not a QGIS style: it has no <qgis> element", "Save the style from QGIS as .qml"
        )
    return style
