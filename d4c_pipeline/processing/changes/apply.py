"""Makes the later files out of the earlier files and the changes, and compares their sha256.

The rows are those of the earlier files without the removed, with the changed values and the added rows; order, cut and
bytes follow from the writer, as in a build. Finding the changes belongs to `find`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c_pipeline import geoparquet
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.files.scratch import disk_trouble, put_in_place
from d4c_pipeline.geometry.stream import coalesced
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.processing.changes.find import ADDED
from d4c_pipeline.processing.changes.recipe import Recipe
from d4c_pipeline.tables.arrays import as_arrow
from d4c_pipeline.tables.columns import GEOMETRY
from d4c_pipeline.tables.parallel import in_memory_bytes

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Applied:
    """The files that were made, in the order of the recipe, all with the sha256 that it names."""

    files: tuple[Path, ...]
    recipe: Recipe


def apply(
    earlier: Files,
    changes: Path,
    into: Path,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> Applied:
    """Make the later files in the folder `into` from the data files `earlier`, in any order, and the file `changes`.

    Raises IntegrityError when `earlier` are other files than the changes begin with, and when the files made have other
    bytes than the changes say; then none is put in place. DataError for a file that is not one of changes.
    """
    recipe = Recipe.read(changes)
    before = _in_order(recipe, listed(earlier), changes)
    layout = recipe.layout
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".changes-", dir=temp or into) as name, disk_trouble(Path(name)):
        work = Path(name)
        shelf = geoparquet.Shelf(work / "shelf", in_memory_bytes(memory_limit))
        shape = _Shaper(layout.geometry) if layout.geometry is not None else None
        for batch in coalesced(_rows(before, changes, recipe)):
            attributes = batch.drop_columns([GEOMETRY]) if shape is not None else batch
            shelf.add(geoparquet.packed(attributes, shape(batch.column(GEOMETRY)) if shape is not None else None))
        if shelf.rows != layout.rows:
            raise _other(changes, f"{shelf.rows} rows", f"{layout.rows}")
        made = geoparquet.write(
            shelf.drain(),
            layout,
            work / "data.parquet",
            cut=recipe.cut,
            sort_bytes=None if shelf.in_memory else in_memory_bytes(memory_limit),
            threads=threads,
        ).files
        found = [sha256_of(file.path) for file in made]
        if found != [file.sha256 for file in recipe.later]:
            raise _other(changes, _named(found), _named([file.sha256 for file in recipe.later]))
        targets = tuple(into / file.name for file in recipe.later)
        for file, target in zip(made, targets, strict=True):
            put_in_place(file.path, target)
    return Applied(targets, recipe)


def _in_order(recipe: Recipe, given: Sequence[Path], changes: Path) -> list[Path]:
    by_sha256 = {sha256_of(path): path for path in given}
    wanted = [file.sha256 for file in recipe.earlier]
    if sorted(by_sha256) != sorted(set(wanted)):
        names = ", ".join(f"{file.name} (sha256 {file.sha256})" for file in recipe.earlier)
        raise IntegrityError(
            f"{changes.name} begins with {names}; given were {_named(list(by_sha256))}",
            "Give exactly the data files of that release",
        )
    return [by_sha256[sha256] for sha256 in wanted]


def _other(changes: Path, made: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"The earlier files and {changes.name} make {made}, not {expected}",
        "Apply the changes with the version of d4c that the release's manifest names, or fetch the later files",
    )


def _named(digests: Sequence[str]) -> str:
    return ", ".join(f"sha256 {digest}" for digest in digests) or "no file"


def _rows(before: Sequence[Path], changes: Path, recipe: Recipe) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the later state in any order, in their final types."""
    layout = recipe.layout
    kinds = layout.types | ({GEOMETRY: pa.binary()} if layout.geometry is not None else {})
    target = pa.schema([(origin.name, kinds[origin.name]) for origin in recipe.columns])
    table = pq.read_table(changes, columns=["kind", "columns", "row", "new"])
    kind = table.column("kind")
    added = table.filter(pc.equal(kind, ADDED))
    yield from _whole(added, target)
    touched = table.filter(pc.not_equal(kind, ADDED))
    # In the order of `row`, which is that of the file.
    rows = touched.column("row").to_numpy()
    first = 0
    for path in before:
        with pq.ParquetFile(path) as file:
            wanted = [origin.earlier for origin in recipe.columns if origin.earlier is not None]
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted or file.schema_arrow.names[:1]):
                start, end = np.searchsorted(rows, [first, first + batch.num_rows])
                here = rows[start:end] - first
                carried = _carried(batch, recipe, target)
                kept = np.ones(batch.num_rows, np.bool_)
                kept[here] = False
                yield carried.filter(as_arrow(kept)) if len(here) else carried
                if len(here):
                    yield from _altered(carried.take(as_arrow(here)), touched.slice(start, end - start), target)
                first += batch.num_rows


def _carried(batch: pa.RecordBatch, recipe: Recipe, target: pa.Schema) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    for origin, field in zip(recipe.columns, target, strict=True):
        if origin.earlier is None:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        array = batch.column(origin.earlier)
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        # Values beyond a narrower type are among the changed ones.
        arrays.append(array if array.type == field.type else array.cast(field.type, safe=False))
    return pa.RecordBatch.from_arrays(arrays, schema=target)


def _altered(rows: pa.RecordBatch, changes: pa.Table, target: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield `rows` with the new values of `changes`, without those that were removed. Both have one length."""
    new = changes.column("new").combine_chunks()
    names = changes.column("columns").combine_chunks()
    flat, parents = names.flatten(), pc.list_parent_indices(names)
    arrays: list[pa.Array] = []
    for field, array in zip(target, rows.columns, strict=True):
        changed = np.zeros(len(new), np.bool_)
        changed[parents.filter(pc.equal(flat, field.name)).to_numpy()] = True
        values = new.field(field.name).cast(field.type)
        arrays.append(pc.if_else(as_arrow(changed), values, array) if changed.any() else array)
    stays = new.is_valid()
    yield pa.RecordBatch.from_arrays(arrays, schema=target).filter(stays)


def _whole(added: pa.Table, target: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in added.select(["new"]).to_batches():
        new = batch.column("new")
        yield pa.RecordBatch.from_arrays([new.field(field.name).cast(field.type) for field in target], schema=target)


class _Shaper:
    """Makes the shapes of rows that a build has cleaned before."""

    def __init__(self, geometry: geoparquet.GeometryLayout) -> None:
        from d4c_pipeline.geometry.projection import Target  # noqa: PLC0415 - tables do not need PROJ

        identifier = geometry.crs["id"]
        self._box = Target.of(f"{identifier['authority']}:{identifier['code']}").box

    def __call__(self, wkb: pa.Array):  # noqa: ANN204
        from d4c_pipeline.geometry.shapes import of_clean  # noqa: PLC0415 - tables do not need GEOS

        return of_clean(wkb, self._box)
