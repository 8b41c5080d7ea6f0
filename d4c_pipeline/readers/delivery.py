"""Reader of a delivery: `inputs` chooses the files, the format of each opens its parts, the result is one `Native`.

`registry` finds the format of a file. Libraries of a format are imported when a file needs them: a table needs neither
GDAL nor PROJ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from d4c_pipeline.files.unpack import is_archive
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.processing import Processing, VectorProcessing
from d4c_pipeline.readers import bounded, hive, inputs, registry, rows
from d4c_pipeline.readers.member import Member
from d4c_pipeline.sandbox import activity
from d4c_pipeline.tables.native import Native, Part, with_rows

# ruff: noqa: PLC0415

_LISTED = 3  # files


def read(processing: Processing, natives: Sequence[Path], work: Path, *, threads: int | None = None) -> Native:
    """Open the members of `natives` that `processing` declares; archives are unpacked under the existing folder `work`.

    `threads` changes the speed, never the rows or their order. The first rows are read at once, so that this function
    raises their errors. Raises DataError for files that can't be read as declared, are empty, or can't be appended.
    """
    activity.now(f"unpacking {', '.join(native.name for native in natives[:_LISTED])}")
    members = _chosen(processing, natives, work)
    parts = [part for member in members for part in parts_of(member, processing, threads=threads)]
    parts = [hive.with_path_columns(part) for part in parts]
    parts = [replace(part, origin=_origin(part, several=len(members) > 1)) for part in parts]
    if processing.origin_column is not None:
        parts = [_with_origin(part, processing.origin_column) for part in parts]
    if processing.append:
        from d4c_pipeline.readers import append

        native = append.append(parts)
    else:
        native = parts[0].open()
    name = "The delivery" if processing.append else native.name
    empty = DataError(f"{name} has no rows", "Check what the source delivers")
    return replace(native, batches=with_rows(native.batches, lambda: empty))


def _chosen(processing: Processing, natives: Sequence[Path], work: Path) -> tuple[Member, ...]:
    packed = [native for native in natives if native.is_file() and is_archive(native)]
    if not packed or not isinstance(processing, VectorProcessing):
        return inputs.choose(processing, natives, work)
    return rows.while_loading(partial(inputs.choose, processing, natives, work), "geometry.cleaning", "readers.vector")


def parts_of(member: Member, processing: Processing, *, threads: int | None = None) -> list[Part]:
    """Return the parts of a chosen member (layers, sheets), within the limits on foreign files. Errors as of `read`."""
    limits = Limits.from_environment()
    form = registry.format_of(member.name, member.path)
    assert form is not None  # noqa: S101 - `inputs` chooses readable files only
    activity.now(f"opening {member.name}")
    with bounded.explained(member.name):
        parts = form.open(member, processing, threads)

    def opened(part: Part) -> Native:
        activity.now(f"reading {part.member}")
        with bounded.explained(part.member):
            native = part.open()
            size = bounded.size_of(member.path, companions=form.companions)
            return bounded.within_limits(native, size, limits, rows_within_bytes=form.rows_within_bytes)

    return [replace(part, open=partial(opened, part)) for part in parts]


def _origin(part: Part, *, several: bool) -> str:
    # The file name distinguishes parts, together with the layer if a file can have several.
    if part.layer is None or Path(part.member).stem == part.layer:
        return part.member
    return f"{part.member}:{part.layer}" if several else part.layer


def _with_origin(part: Part, name: str) -> Part:
    def opened() -> Native:
        native = part.open()
        if name in native.attributes.names:
            raise DataError(
                f"The data already has a column {name}, which is declared as origin_column",
                "Declare another origin_column",
            )
        position = len(native.attributes)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in native.batches:
                yield batch.add_column(position, name, pa.repeat(pa.scalar(part.origin, pa.string()), batch.num_rows))

        return replace(native, attributes=native.attributes.append(pa.field(name, pa.string())), batches=batches())

    return replace(part, open=opened)
