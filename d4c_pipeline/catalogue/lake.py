"""`lake.ducklake`: a DuckLake whose tables are the released files, without a copy of the data.

A table has the newest release of a product. Each release has a snapshot, in the order and with the time of publication:
`AT (VERSION => n)` and `AT (TIMESTAMP => ...)` read earlier releases. Geometry stays WKB, because DuckLake does not
accept GeoParquet 1 as geometry. Source: https://ducklake.select/docs/stable/
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.model.errors import PermanentError

LAKE_NAME = "lake.ducklake"
_METADATA = "__ducklake_metadata_lake"
_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Lake:
    """The written lake: its file, and table -> its snapshots (number, release)."""

    path: Path
    tables: dict[str, tuple[tuple[int, str], ...]]


def write_lake(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    published: Iterable[PublishedMetadata],
    *,
    readable: Callable[[PublishedMetadata, PublishedFile], str],
    address: Callable[[PublishedMetadata, PublishedFile], str],
) -> Lake:
    """Write the lake of `published` to `path`, replacing an existing file atomically.

    `connection`: in memory, with the extensions ducklake and httpfs. `readable`: the present place of a data file,
    whose footer is read; `address`: the place where readers of the lake find it. Raises PermanentError that names the
    release whose files can't be read or have columns that DuckLake does not support.
    """
    ordered = sorted(published, key=lambda release: (release.published_at, release.name))
    new = path.with_name(f".{path.name}.part")
    for dead in (new, new.with_name(f"{new.name}.wal")):
        dead.unlink(missing_ok=True)
    tables: dict[str, list[tuple[int, str]]] = {}
    moved: dict[str, str] = {}
    # DuckLake creates empty folders for rows that it might write.
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as rows:
        connection.execute(f"ATTACH {_text(f'ducklake:{new}')} AS lake (DATA_PATH {_text(rows)})")
        try:
            for release in ordered:
                files = {readable(release, file): address(release, file) for file in release.data_files}
                moved |= files
                try:
                    number = _add(connection, release, [*files])
                except duckdb.Error as error:
                    raise PermanentError(
                        f"The lake can't hold {release.name}: {' '.join(str(error).split())[:300]}",
                        "Check that its data files can be read where the primary store serves them, or leave it out",
                    ) from error
                tables.setdefault(table_name(release), []).append((number, release.name))
            _correct(connection, ordered, moved)
        finally:
            connection.execute("DETACH lake")
    os.replace(new, path)  # noqa: PTH105 - one step
    return Lake(path, {table: tuple(numbers) for table, numbers in sorted(tables.items())})


def table_name(release: PublishedMetadata) -> str:
    """Return the table of a release: the dataset of a rolling series, dataset and vintage of an edition."""
    if release.series == "rolling":
        return release.dataset
    return f"{release.dataset}_{re.sub(r'[^0-9A-Za-z]+', '_', str(release.vintage))}"


def _add(connection: duckdb.DuckDBPyConnection, release: PublishedMetadata, files: list[str]) -> int:
    """Make the files of a release the content of its table in one snapshot; return the snapshot's number."""
    table = f'lake."{table_name(release)}"'
    listed = ", ".join(map(_text, files))
    connection.execute("BEGIN")
    try:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(
            f"CREATE TABLE {table} AS SELECT * FROM read_parquet([{listed}], union_by_name = true) LIMIT 0"  # noqa: S608
        )
        connection.execute(
            f"CALL ducklake_add_data_files('lake', {_text(table_name(release))}, [{listed}], allow_missing => true)"
        )
        remark = f"{plain(release.title.en)} ({release.vintage}, v{release.version}), doi:{release.doi}"
        connection.execute(f"COMMENT ON TABLE {table} IS {_text(remark)}")
        connection.execute(
            f"CALL lake.set_commit_message({_text(plain(release.site.publisher))}, {_text(release.name)})"
        )
        connection.execute("COMMIT")
    except duckdb.Error:
        connection.execute("ROLLBACK")
        raise
    (number,) = connection.execute("SELECT max(snapshot_id) FROM lake.snapshots()").fetchone() or (0,)
    return int(number)


def _correct(connection: duckdb.DuckDBPyConnection, ordered: list[PublishedMetadata], moved: dict[str, str]) -> None:
    """Write the addresses that readers use, and the times of publication."""
    for old, new in moved.items():
        if old != new:
            connection.execute(
                f"UPDATE {_METADATA}.ducklake_data_file SET path = ?, path_is_relative = false WHERE path = ?",  # noqa: S608
                [new, old],
            )
    # Readers have no use for a folder of this machine, because they write no rows.
    connection.execute(f"UPDATE {_METADATA}.ducklake_metadata SET value = 'rows/' WHERE key = 'data_path'")  # noqa: S608
    # Snapshots at the same time have no order: the empty first snapshot and simultaneous releases differ by a tick.
    moment = ordered[0].published_at - _TICK if ordered else None
    for release in (None, *ordered):
        if moment is None:
            break
        if release is not None:
            moment = max(release.published_at, moment + _TICK)
        connection.execute(
            f"UPDATE {_METADATA}.ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id IN "  # noqa: S608
            f"(SELECT snapshot_id FROM {_METADATA}.ducklake_snapshot_changes "
            "WHERE commit_message IS NOT DISTINCT FROM ?)",
            [moment, release and release.name],
        )


def _text(text: str) -> str:
    return f"'{text.replace(chr(39), chr(39) * 2)}'"
