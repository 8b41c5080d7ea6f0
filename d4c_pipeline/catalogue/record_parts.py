"""The facts of all releases in parts, so that a new release rewrites one part: cuts, manifest, growth.

The shape:

- `catalogue/record-parts/<digits>.parquet`: a part, of whole datasets in the order of their ids. The digits begin its
  sha256, so a new part never replaces another and a reader never gets a mixture.
- `catalogue/records.json`: the manifest, the list of the parts in order, each with its address relative to the
  manifest, its first and last dataset, rows, size and sha256. It is replaced in one step after its parts are there.
- A part ends after a dataset as row groups do (`row_groups.ends_group`), with a larger share of rows. So each end of
  a part is an end of a row group, other datasets have no influence, and appended parts have the bytes of rebuilt ones.
  There is always a part: an empty catalogue has one without rows.
- On this machine the same two names lie below `staging/catalogue`, from which the parts grow. A part that is opened
  is compared with its sha256 first; the others are neither read nor written.

Each store keeps the parts of an earlier manifest until the new one is there; then those are deleted that the ledger
recorded to have been put (`chain.catalogue_copies`), likewise the one file `records.parquet` of an earlier form. A
reader who finds a part gone reads the manifest again.

The rows belong to `records_parquet`, row groups to `grouped_file`, copies in stores to `chain`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from d4c_pipeline.catalogue.grouped_file import ExistingFile, GroupedFile, Growing, RowGroup, damaged
from d4c_pipeline.catalogue.records_parquet import RECORDS
from d4c_pipeline.catalogue.row_groups import ends_group
from d4c_pipeline.files.disk import storage_errors, sync_folder, write_file
from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.addresses import RECORDS_MANIFEST, record_part_address, relative_path
from d4c_pipeline.model.errors import DataError

# Average rows of a part, as a share of `row_groups.GROUP_ROWS`: 8 row groups, some 5 to 15 MB. A million releases
# have some 120 parts. With larger parts a release rewrites more, with smaller ones the manifest, which is rewritten
# each time, and a complete rebuild take longer.
_SHARE = 1 / 2


@dataclass(frozen=True)
class Part:
    """A part: its first and last dataset ("" without rows), its rows, its size in bytes and its sha256 in hex."""

    first: str
    last: str
    rows: int
    size: int
    sha256: str

    @property
    def address(self) -> str:
        """The address of the part in every store."""
        return record_part_address(self.sha256)

    @property
    def digests(self) -> Digests:
        """Size and sha256."""
        return Digests(self.size, "", self.sha256)


def parts_of(manifest: bytes) -> tuple[Part, ...]:
    """Return the parts that a manifest lists, in the order of their rows. Raises DataError for anything else."""
    try:
        listed: list[Mapping[str, Any]] = json.loads(manifest)["parts"]
        return tuple(
            Part(str(each["first"]), str(each["last"]), int(each["rows"]), int(each["size"]), _hex(each["sha256"]))
            for each in listed
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{RECORDS_MANIFEST} is no list of the parts of the records", "Rebuild it: d4c catalogue rebuild"
        ) from error


def _hex(digest: str) -> str:
    """Return a sha256, of which an address is made. Raises ValueError for anything else."""
    if len(bytes.fromhex(digest)) != hashlib.sha256().digest_size:
        raise ValueError(digest)
    return digest


def manifest_of(parts: Sequence[Part]) -> bytes:
    """Return the manifest of parts: the same bytes for the same parts."""
    listed = [
        {
            "href": relative_path(part.address, RECORDS_MANIFEST),
            "first": part.first,
            "last": part.last,
            "rows": part.rows,
            "size": part.size,
            "sha256": part.sha256,
        }
        for part in parts
    ]
    return json.dumps({"rows": sum(part.rows for part in parts), "parts": listed}, indent=1).encode()


def path_of(root: Path, part: Part) -> Path:
    """Return the path of a part below the folder `root` of a store."""
    return root / part.address


def files_of(root: Path) -> list[Path]:
    """Return the paths of the parts in the folder `root` of a store, in order; no manifest gives none."""
    manifest = root / RECORDS_MANIFEST
    return [path_of(root, part) for part in parts_of(manifest.read_bytes())] if manifest.is_file() else []


@contextmanager
def writing_parts(root: Path, existing: Sequence[Part] = ()) -> Iterator[GrowingParts]:
    """Yield parts below the folder `root` that accept datasets; at the end, write their manifest.

    `existing`: the parts there from which these grow; the files of those that are gone stay. Without a manifest at the
    end, what was written is left to the next call. Raises StorageError when the disk is full or refuses access,
    IntegrityError when an existing part that changes has other bytes than were written.
    """
    growing = GrowingParts(root, existing)
    yield growing
    manifest = root / RECORDS_MANIFEST
    write_file(manifest, manifest_of(growing.finish()))
    with storage_errors(f"write {manifest.name}"):
        sync_folder(manifest.parent)


class GrowingParts(Growing):
    """Parts that take datasets in the order of their ids; the parts without a changed dataset stay unread."""

    def __init__(self, root: Path, existing: Sequence[Part] = ()) -> None:
        super().__init__(RECORDS)
        self._root = root
        self._existing = [part for part in existing if part.rows]
        self._next = 0
        self._parts: list[Part] = []
        self._out = io.BytesIO()
        self._file: GroupedFile | None = None  # the part that grows
        self._first, self._last, self._rows = "", "", 0

    def finish(self) -> tuple[Part, ...]:
        """Write the remaining datasets and return all parts."""
        self._complete()
        if self._file is not None or not self._parts:
            self._close()
        return tuple(self._parts)

    def _add(self, rows: pa.Table) -> None:
        if rows.num_rows:
            datasets = rows.column("dataset")
            self._open(datasets[0].as_py(), datasets[-1].as_py(), rows.num_rows).add(rows)

    def _copy(self, source: ExistingFile, group: RowGroup) -> None:
        self._open(group.first, group.last, source.rows(group.number)).copy(source, group)
        if not self._waiting and self._is_followed():
            self._close()  # an existing part ended here, after a dataset that did not change

    def _ended(self, dataset: str, rows: int) -> None:
        if ends_group(dataset, rows, _SHARE):
            self._close()

    def _load(self, dataset: str | None) -> bool:
        while self._next < len(self._existing):
            part = self._existing[self._next]
            self._next += 1
            is_before = dataset is None or part.last < dataset
            is_followed = dataset is None or self._is_followed()
            if is_before and is_followed and not self._pending and self._file is None:
                self._parts.append(part)
                continue
            source = ExistingFile(self._intact(part), RECORDS)
            self._waiting.extend((source, group) for group in source.groups)
            return True
        return False

    def _is_followed(self) -> bool:
        return self._next < len(self._existing)

    def _open(self, first: str, last: str, rows: int) -> GroupedFile:
        """Return the part that grows, which now has `rows` more from the dataset `first` to `last`."""
        if self._file is None:
            self._out = io.BytesIO()
            self._file = GroupedFile(self._out, RECORDS)
            self._first, self._rows = first, 0
        self._last = last
        self._rows += rows
        return self._file

    def _close(self) -> None:
        """Write the part that grows, flushed to the disk and read back; the same part on the disk stays."""
        file = self._file or self._open("", "", 0)
        file.finish()
        content, self._file, self._out = self._out.getvalue(), None, io.BytesIO()
        part = Part(self._first, self._last, self._rows, len(content), hashlib.sha256(content).hexdigest())
        path = path_of(self._root, part)
        with storage_errors(f"write {path.name}"):
            if not path.is_file() or _sha256(path) != part.sha256:
                write_file(path, content)
                sync_folder(path.parent)
                if _sha256(path) != part.sha256:
                    raise damaged(path)
        self._parts.append(part)

    def _intact(self, part: Part) -> bytes:
        """Return the bytes of an existing part. Raises IntegrityError when they are not those that were written."""
        path = path_of(self._root, part)
        with storage_errors(f"read {path.name}"):
            content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise damaged(path)
        return content


def _sha256(path: Path) -> str:
    """Return the sha256 of a file as the disk has it, not the memory."""
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
