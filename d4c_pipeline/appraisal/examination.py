"""What the files of a submission hold: formats, rows, columns, encoding, CRS, extent, and what is wrong with them.

`examine` parses foreign bytes in a process of its own, `examined` runs it there and trusts nothing in its answer.
Judging these facts belongs to `criteria`, fetching the files to `delivered`.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.errors import D4CError, DataError
from d4c_pipeline.model.processing import Processing, TableProcessing, VectorProcessing
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline.tables.parallel import most_memory

if TYPE_CHECKING:
    import pyarrow as pa

    from d4c_pipeline.readers.member import Member
    from d4c_pipeline.tables.native import Native, Part

_SETTINGS = child.Settings(memory="D4C_BUILD_MEMORY", time="D4C_BUILD_SECONDS")
_SECONDS = 900.0
_MOST_PARTS, _MOST_COLUMNS = 50, 500
_OF_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".sbn", ".sbx", ".qix", ".shp.xml")
_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".json", ".geojson", ".jsonl", ".ndjson", ".xml", ".gml", ".kml")
_BINARY = (
    (magic.ANY_ZIP, "a zip archive or a workbook"),
    (magic.GZIP, "a gzip file"),
    (magic.SEVEN_ZIP, "a 7z archive"),
    (magic.ZSTANDARD, "a zstd file"),
    (magic.SQLITE, "an SQLite database"),
    (magic.PARQUET, "a Parquet file"),
    (magic.OLE, "a document of Microsoft Office"),
    (magic.PDF, "a PDF document"),
    (magic.DOS_PROGRAM, "a program"),
    (b"\x7fELF", "a program"),
    (b"#!", "a script"),
)
_START = 512

_Text = Annotated[str, StringConstraints(max_length=500)]
_Degrees = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PartFacts(_Strict):
    """A table or layer of a file. `bounds`: in degrees of WGS 84; `empty`: columns without values.

    `content`: a digest (16 hex digits) of the rows in any order and the columns in any order, which other archives,
    delimiters, line ends and encodings of the same table have too; None without rows.
    """

    name: _Text
    rows: Annotated[int, Field(ge=0)]
    columns: tuple[_Text, ...]
    empty: tuple[_Text, ...] = ()
    unnamed: int = 0
    encoding: _Text | None = None
    crs: _Text | None = None
    is_spatial: bool = False
    bounds: tuple[_Degrees, _Degrees, _Degrees, _Degrees] | None = None
    problem: _Text | None = None
    content: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] | None = None


class _Answer(_Strict):
    parts: tuple[PartFacts, ...]


class FileFacts(_Strict):
    """A file of a submission. `address`: of its source, None for an upload; `problem`: why it can't be read."""

    name: _Text
    address: str | None
    size: Annotated[int, Field(ge=0)]
    sha256: str
    format: _Text
    parts: tuple[PartFacts, ...] = ()
    problem: _Text | None = None

    @property
    def rows(self) -> int:
        """The rows of all parts."""
        return sum(part.rows for part in self.parts)


def examined(files: Mapping[Path, str | None], work: Path, settings: Settings, *, what: str) -> tuple[FileFacts, ...]:
    """Return the facts of `files` (path -> address of the source, None for an upload), by name.

    The parts of a shapefile are examined together. A file that can't be read has a `problem`; a bomb, a crash and an
    exceeded limit are such problems. Raises StorageError when `work` can't be written.
    """
    found: list[FileFacts] = []
    for group in _groups(files):
        main = group[0]
        parts, problem = (), false_suffix(main)
        if problem is None:
            try:
                parts = _apart(group, work, settings, what)
            except DataError as error:
                problem = error.cause[:500]
        found += [
            FileFacts(
                name=path.name[:500],
                address=files[path],
                size=path.stat().st_size,
                sha256=sha256_of(path),
                format=path.suffix.lower().lstrip(".")[:20] or "unknown",
                parts=parts if path is main else (),
                problem=problem if path is main else None,
            )
            for path in group
        ]
    return tuple(sorted(found, key=lambda each: each.name))


def false_suffix(path: Path) -> str | None:
    """Return in words that the bytes of a file contradict its suffix; None if they do not."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return f"{path.name} is empty"
    actual = next((what for beginning, what in _BINARY if start.startswith(beginning)), None)
    required = magic.REQUIRED.get(suffix)
    if required is not None and not start.startswith(required):
        return f"{path.name} is no {suffix} file" + (f", but {actual}" if actual else "")
    if suffix in _TEXTS and actual is not None:
        return f"{path.name} is no text, but {actual}"
    if actual in ("a program", "a script"):
        return f"{path.name} is {actual}"
    return None


def _groups(files: Iterable[Path]) -> list[list[Path]]:
    """Return the files to read together: the parts of a shapefile after their .shp, every other file alone."""
    every = sorted(files)
    stems = {path.with_suffix("") for path in every if path.suffix.lower() == ".shp"}
    groups: dict[Path, list[Path]] = {}
    for path in every:
        stem = next((each for each in stems if path.name.lower() in _names(each)), None)
        groups.setdefault(stem or path, []).append(path)
    return [sorted(group, key=lambda path: (path.suffix.lower() != ".shp", path)) for group in groups.values()]


def _names(stem: Path) -> set[str]:
    return {f"{stem.name.lower()}{suffix}" for suffix in _OF_SHAPEFILE}


def _apart(natives: Sequence[Path], work: Path, settings: Settings, what: str) -> tuple[PartFacts, ...]:
    folder, scratch = work / "examined", work / "scratch"
    with storage_errors(f"write in {work}"):
        for needed in (folder, scratch):
            shutil.rmtree(needed, ignore_errors=True)
            needed.mkdir(parents=True)
    try:
        answer = child.run(
            examine,
            [str(path) for path in natives],
            str(folder),
            what=what,
            limits=Limits(settings.build_memory or most_memory(), min(_SECONDS, settings.build_seconds)),
            settings=_SETTINGS,
            reach=Reach(scratch, readable=tuple(natives), writable=(folder,)),
        )
        return _Answer.model_validate_json(json.dumps(answer)).parts
    except ValidationError as error:
        raise DataError("The process that read the file returned a malformed answer", "Inspect it with care") from error
    finally:
        for made in (folder, scratch):
            shutil.rmtree(made, ignore_errors=True)


def examine(natives: Sequence[str], folder: str) -> dict[str, Any]:
    """Read all parts of `natives`, unpacked below `folder`, and return the answer for `examined`.

    Raises DataError for files that are no data, and for archives beyond the limits.
    """
    # The caller of `examined` does not need these imports.
    from d4c_pipeline.readers import inputs  # noqa: PLC0415

    every: Processing = VectorProcessing(kind="vector", append=True)
    members = inputs.choose(every, [Path(native) for native in natives], Path(folder))
    parts = [facts for member in members[:_MOST_PARTS] for facts in _parts(member)][:_MOST_PARTS]
    return {"parts": [part.model_dump(mode="json") for part in parts]}


def _parts(member: Member) -> list[PartFacts]:
    from d4c_pipeline.readers import delivery, registry  # noqa: PLC0415

    form = registry.format_of(member.name, member.path)
    spatial = form is not None and form.group in ("features", "json")
    vector, table = VectorProcessing(kind="vector", append=True), TableProcessing(kind="table", append=True)
    try:
        every = delivery.parts_of(member, vector if spatial else table)[:_MOST_PARTS]
        return [_facts(part, spatial=spatial) for part in every]
    except DataError as error:
        if spatial and form is not None and form.group == "json":  # rows without geometry
            return [_facts(part, spatial=False) for part in delivery.parts_of(member, table)[:_MOST_PARTS]]
        return [PartFacts(name=member.name[:500], rows=0, columns=(), problem=error.cause[:500])]


def _facts(part: Part, *, spatial: bool) -> PartFacts:
    name = (part.member if part.layer is None else f"{part.member}:{part.layer}")[:500]
    try:
        native = part.open()
        rows, filled, bounds, content = _counted(native)
    except DataError as error:
        if spatial and part.layer is None and part.member.lower().endswith((".json", ".jsonl", ".ndjson")):
            raise
        return PartFacts(name=name, rows=0, columns=(), is_spatial=spatial, problem=error.cause[:500])
    columns = [column[:500] for column in native.attributes.names]
    encoding = native.report.get("encoding")
    return PartFacts(
        name=name,
        rows=rows,
        columns=tuple(columns[:_MOST_COLUMNS]),
        empty=tuple(column for column in columns if rows and column not in filled)[:_MOST_COLUMNS],
        unnamed=sum(not column.strip() for column in columns),
        encoding=str(encoding)[:100] if encoding is not None else None,
        crs=_crs_name(native),
        is_spatial=native.crs is not None,
        bounds=bounds,
        content=content,
    )


def _counted(native: Native) -> tuple[int, set[str], tuple[float, float, float, float] | None, str | None]:
    """Return the rows, the columns that have a value, the bounds in degrees, and the digest of the content."""
    rows, filled, content = 0, set[str](), _Content(native.schema.names)
    sides: list[float] | None = None
    for batch in native.batches:
        rows += batch.num_rows
        content.add(batch)
        for number, name in enumerate(native.attributes.names):
            if name not in filled and batch.column(number).null_count < batch.num_rows:
                filled.add(name[:500])
        if native.crs is not None:
            sides = _joined(sides, batch.column(batch.num_columns - 1))
    return rows, filled, _degrees(native, sides), content.digest() if rows else None


class _Content:
    """The digest of the rows of a table: the sum of their hashes, which no order of the rows changes."""

    def __init__(self, names: Sequence[str]) -> None:
        self._order = sorted(range(len(names)), key=lambda number: names[number].casefold())
        joined = "\n".join(names[number].casefold() for number in self._order)
        self._sum = int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest())

    def add(self, batch: pa.RecordBatch) -> None:
        import pandas as pd  # noqa: PLC0415

        texts = {place: _texts(batch.column(number)) for place, number in enumerate(self._order)}
        if texts:
            self._sum += int(pd.util.hash_pandas_object(pd.DataFrame(texts), index=False).sum())

    def digest(self) -> str:
        return f"{self._sum % 2**64:016x}"


def _texts(column: pa.Array) -> Any:
    """Return the values as texts or bytes, for a hash; a missing value is no text."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_nested(column.type):
        values = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        values = column.to_pylist()
    else:
        values = column.cast(pa.large_string()).to_pylist()
    return values


def _joined(sides: list[float] | None, geometries: Any) -> list[float] | None:
    import shapely  # noqa: PLC0415

    shapes = shapely.from_wkb(geometries.to_numpy(zero_copy_only=False), on_invalid="ignore")
    found = [float(side) for side in shapely.total_bounds(shapes)]
    if not all(map(math.isfinite, found)):
        return sides
    if sides is None:
        return found
    return [*map(min, sides[:2], found[:2]), *map(max, sides[2:], found[2:])]


def _degrees(native: Native, sides: list[float] | None) -> tuple[float, float, float, float] | None:
    if native.crs is None or sides is None:
        return None
    from d4c_pipeline.geometry import projection  # noqa: PLC0415

    try:
        west, south, east, north = projection.transformer(
            native.crs, projection.crs_of(projection.Target.of(projection.WGS84))
        ).transform_bounds(sides[0], sides[1], sides[2], sides[3])
    except D4CError:
        return None  # no operation leads to WGS 84
    if not all(math.isfinite(side) and abs(side) <= 360 for side in (west, south, east, north)):
        return None
    return round(west, 5), round(south, 5), round(east, 5), round(north, 5)


def _crs_name(native: Native) -> str | None:
    if native.crs is None:
        return None
    from d4c_pipeline.geometry import projection  # noqa: PLC0415

    return projection.crs_name(native.crs)[:200]
