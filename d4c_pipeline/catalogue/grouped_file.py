"""A Parquet file of the catalogue that grows by row groups: writing, verification, copies of row groups.

The rows, their columns and the metadata of a file belong to its form (`stac_geoparquet`, `records_parquet`), the place
of cuts to `row_groups`, several files that grow together to `record_parts`. `chain` selects the releases.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.catalogue.row_groups import ends_group, runs
from d4c_pipeline.files import magic
from d4c_pipeline.geoparquet import Footer, Stitched
from d4c_pipeline.model.errors import IntegrityError, StorageError

# Of each row group the facts of its form, from which the metadata of the file follow when a row group is replaced, and
# size and sha256 of its bytes as they were encoded, by which a copy is verified.
_GROUPS_KEY = "d4c:row_groups"
# Rows that wait together for the end of their row group before they become one table.
_COMBINED = 1_000


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of a file. `schema`: its columns, of which `dataset` orders the rows and has statistics.

    `encoded`: rows -> a Parquet file of one row group. `facts`: rows -> what the file's metadata need of a row group,
    ready for JSON. `template`: the facts of all row groups and further key-value metadata -> a file without rows.
    `share`: the part of `row_groups.GROUP_ROWS` that a row group has on average.
    """

    schema: pa.Schema
    encoded: Callable[[pa.Table], pa.Buffer]
    facts: Callable[[pa.Table], dict[str, Any]]
    template: Callable[[Sequence[Mapping[str, Any]], Mapping[str, str]], bytes]
    share: float = 1.0


@dataclass(frozen=True)
class RowGroup:
    """A row group of an existing file: its number, its first and last dataset, and its facts."""

    number: int
    first: str
    last: str
    facts: GroupFacts


@dataclass(frozen=True)
class GroupFacts:
    """Size and sha256 of the bytes of a row group, which are the same in every file, and the facts of its form."""

    size: int
    sha256: str
    own: Mapping[str, Any]


@contextmanager
def writing(path: Path, form: Form, existing: ExistingFile | None = None) -> Iterator[GrowingFile]:
    """Yield a file that accepts datasets; at the end, move it to `path`, flushed to the disk.

    `existing`: the file whose row groups are copied unless a dataset in them changes. Raises StorageError when the disk
    is full or refuses access.
    """
    with _replacing(path) as temporary, temporary.open("w+b") as out:
        file = GrowingFile(GroupedFile(out, form), existing)
        yield file
        footer = file.finish()
        out.flush()
        os.fsync(out.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is read from here on lies on the disk
        out.seek(-len(footer), os.SEEK_END)
        if out.read() != footer:
            raise damaged(path)


class ExistingFile:
    """A file on the disk, or the bytes of one, whose row groups are read or copied."""

    def __init__(self, source: Path | bytes, form: Form) -> None:
        self._form = form
        content = source if isinstance(source, bytes) else _mapped(source)
        self._parquet = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
        self.footer = Footer(memoryview(content))
        metadata = self._parquet.metadata
        facts = _group_facts(metadata)
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        place = names.index("dataset")
        self.groups = [_group(metadata.row_group(number), number, place, own) for number, own in enumerate(facts)]

    def rows(self, number: int) -> int:
        """Return the number of rows of a row group."""
        return self._parquet.metadata.row_group(number).num_rows

    def read(self, number: int) -> pa.Table:
        """Return the rows of a row group, in the columns of the form."""
        return self._parquet.read_row_group(number).cast(self._form.schema)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _group(group: pq.RowGroupMetaData, number: int, place: int, facts: GroupFacts) -> RowGroup:
    dataset = group.column(place).statistics
    return RowGroup(number, dataset.min, dataset.max, facts)


def _group_facts(metadata: pq.FileMetaData) -> list[GroupFacts]:
    stated: list[dict[str, Any]] = json.loads(metadata.metadata[_GROUPS_KEY.encode()])
    return [GroupFacts(each.pop("size"), each.pop("sha256"), each) for each in stated]


class GroupVerifier:
    """Takes part in a read of the file at `path` and compares each row group with its digest in the footer.

    A digest is made once, when the rows are encoded, and then copied with the row group from file to file. So neither a
    wrong write nor a bit that rotted in the earlier file gets into the catalogue unseen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = _group_facts(pq.read_metadata(path))[::-1]
        self._skipped, self._left = len(magic.PARQUET), 0
        self._digest = hashlib.sha256()
        self._damaged = False
        self._next()

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes of the file."""
        skipped = min(self._skipped, len(data))
        self._skipped -= skipped
        data = data[skipped:]
        while self._left and data:
            some = data[: self._left]
            self._digest.update(some)
            self._left -= len(some)
            data = data[len(some) :]
            if not self._left:
                self._damaged |= self._digest.hexdigest() != self._waiting.pop().sha256
                self._next()

    def require_intact(self) -> None:
        """Raise IntegrityError unless all row groups were read and have the bytes that were encoded."""
        if self._damaged or self._waiting:
            raise damaged(self._path)

    def _next(self) -> None:
        self._digest = hashlib.sha256()
        self._left = self._waiting[-1].size if self._waiting else 0


def damaged(path: Path) -> IntegrityError:
    """Return the error of a file of the catalogue that has other bytes than were written."""
    return IntegrityError(
        f"The catalogue {path.name} on this machine has other bytes than were written",
        "Check the disk, then run again: the catalogue is then built from the ledger",
    )


class GroupedFile:
    """A file in progress, written row group by row group."""

    def __init__(self, out: BinaryIO, form: Form) -> None:
        self._stitched, self.form = Stitched(out, lean=True), form
        self._facts: list[GroupFacts] = []

    def copy(self, source: ExistingFile, group: RowGroup) -> None:
        """Append a row group of another file unchanged."""
        self._facts.append(group.facts)
        self._stitched.add_groups(source.footer, range(group.number, group.number + 1))

    def add(self, rows: pa.Table) -> None:
        """Append `rows`, in the columns of the form, as one row group."""
        if not rows.num_rows:
            return
        own = self.form.facts(rows)
        group = Footer(memoryview(self.form.encoded(rows)).cast("B"))
        content = group.whole[group.starts[0] : group.starts[1]]
        self._facts.append(GroupFacts(len(content), hashlib.sha256(content).hexdigest(), own))
        self._stitched.add_groups(group)

    def finish(self) -> bytes:
        """Write and return all that follows the row groups."""
        stated = [{**each.own, "size": each.size, "sha256": each.sha256} for each in self._facts]
        own = [each.own for each in self._facts]
        self._stitched.finish(self.form.template(own, {_GROUPS_KEY: json.dumps(stated)}))
        return self._stitched.tail


class Growing(ABC):
    """Takes datasets in the order of their ids and copies the row groups without a changed dataset.

    So the result has the bytes of one that was written from the start. For each changed dataset call `before`, which
    takes its earlier rows out, then `put` with its rows unless it has none any more.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._pending = PendingRows(form.schema)
        self._opened: list[tuple[str, pa.Table]] = []  # datasets of a row group that can't be copied, the last first
        self._waiting: deque[tuple[ExistingFile, RowGroup]] = deque()

    def before(self, dataset: str) -> pa.Table | None:
        """Return the existing rows of a dataset, None without them; all earlier datasets are written."""
        self._advance(dataset)
        if self._opened and self._opened[-1][0] == dataset:
            return self._opened.pop()[1]
        return None

    def put(self, dataset: str, rows: pa.Table) -> None:
        """Append the rows of a dataset; a row group ends after it or not, as `row_groups` decides."""
        self._pending.add(rows)
        if ends_group(dataset, rows.num_rows, self._form.share):
            self._add(self._pending.take())
            self._ended(dataset, rows.num_rows)

    @abstractmethod
    def _add(self, rows: pa.Table) -> None:
        """Append rows as one row group."""

    @abstractmethod
    def _copy(self, source: ExistingFile, group: RowGroup) -> None:
        """Append an existing row group unchanged."""

    @abstractmethod
    def _ended(self, dataset: str, rows: int) -> None:
        """Accept that a row group ended after a dataset with its number of rows."""

    def _load(self, dataset: str | None) -> bool:
        """Add existing row groups to those that wait, until that of `dataset` is one; return whether there are any."""
        return False

    def _is_followed(self) -> bool:
        """Return whether there are row groups after those that wait."""
        return False

    def _complete(self) -> None:
        """Write the remaining datasets."""
        self._advance(None)
        self._add(self._pending.take())

    def _advance(self, dataset: str | None) -> None:
        """Write all existing datasets before `dataset`, all of them if it is None."""
        while True:
            while self._opened and (dataset is None or self._opened[-1][0] < dataset):
                self.put(*self._opened.pop())
            if self._opened or not (self._waiting or self._load(dataset)):
                return
            source, group = self._waiting.popleft()
            is_before = dataset is None or group.last < dataset
            # Datasets after the last row group may belong to it, as rows that still wait belong to the next one.
            is_followed = dataset is None or bool(self._waiting) or self._is_followed()
            if is_before and is_followed and not self._pending:
                self._copy(source, group)
                continue
            rows, start = source.read(group.number), 0
            for name, count in runs(rows.column("dataset").to_pylist()):
                self._opened.append((name, rows.slice(start, count)))
                start += count
            self._opened.reverse()


class GrowingFile(Growing):
    """One file that grows."""

    def __init__(self, file: GroupedFile, existing: ExistingFile | None = None) -> None:
        super().__init__(file.form)
        self._file = file
        if existing is not None:
            self._waiting.extend((existing, group) for group in existing.groups)

    def finish(self) -> bytes:
        """Write the remaining datasets and all that follows the row groups, which is returned."""
        self._complete()
        return self._file.finish()

    def _add(self, rows: pa.Table) -> None:
        self._file.add(rows)

    def _copy(self, source: ExistingFile, group: RowGroup) -> None:
        self._file.copy(source, group)

    def _ended(self, dataset: str, rows: int) -> None:
        """Do nothing: the file goes on."""


class PendingRows:
    """The rows of a row group that is not complete yet.

    Every table costs some 100 kB besides its values (236 columns with buffers of their own), five times the values of a
    dataset of 20 releases. So small tables are combined, and the complete group column by column.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._large: list[pa.Table] = []
        self._small: list[pa.Table] = []
        self._rows = 0  # of the small tables

    def __bool__(self) -> bool:
        return bool(self._large or self._small)

    def add(self, rows: pa.Table) -> None:
        """Append `rows`, in the columns of the schema."""
        self._small.append(rows)
        self._rows += rows.num_rows
        if self._rows >= _COMBINED or len(self._small) >= _COMBINED // 10:
            self._large.append(pa.concat_tables(self._small).combine_chunks())
            self._small, self._rows = [], 0

    def take(self) -> pa.Table:
        """Return all rows as one table with one chunk, and forget them."""
        tables = [*self._large, *self._small]
        self._large, self._small, self._rows = [], [], 0
        waiting = [[table.column(name) for table in tables] for name in self._schema.names]
        tables.clear()  # so that a column is freed once it is combined
        columns: list[pa.Array] = []
        for field, parts in zip(self._schema, waiting, strict=True):
            chunks = [chunk for part in parts for chunk in part.chunks]
            parts.clear()
            columns.append(pa.concat_arrays(chunks) if chunks else pa.array([], field.type))
        return pa.Table.from_arrays(columns, schema=self._schema)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; at the end, move its file to `path`, flushed to the disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # Arrow raises OSError without a number for failures in its own code.
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = (
            "Free space on the disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "Make the folder writable"
        )
        raise StorageError(f"The catalogue {path.name} can't be written: {reason}", remedy) from error
