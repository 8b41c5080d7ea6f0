"""The facts of all releases as Parquet: what services make records of every format from.

A row has the facts as JSON (`metadata.published_json`) and what a harvest selects by. The parts in which the rows lie
belong to `record_parts`, the growing of a file to `grouped_file`, the reading to `services`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.catalogue.grouped_file import Form
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.topics import topics

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("identifier", pa.string()),
        ("dataset", pa.string()),
        ("vintage", pa.string()),
        ("version", pa.string()),
        ("is_latest", pa.bool_()),
        # When the record changed last, to the second.
        ("modified", pa.timestamp("ms", tz="UTC")),
        ("withdrawn", pa.bool_()),
        ("package", pa.string()),
        # Topic categories of ISO 19115.
        ("subjects", pa.list_(pa.string())),
        ("has_place", pa.bool_()),
        ("facts", pa.string()),
    ]
)
# The facts of a release are some 10 kB. With the row groups of the STAC file a new release would encode 160 MB again.
_SHARE = 1 / 16
_COMPRESSION = {"compression": "zstd", "compression_level": 3}
_WITH_STATISTICS = ["dataset", "id", "is_latest", "modified", "withdrawn", "package"]


def row(published: PublishedMetadata, package: str, facts: bytes, modified: datetime) -> dict[str, Any]:
    """Return the row of a release. `package`: of its dataset; `facts`: as `published_json.dumped` writes them."""
    return {
        "id": published.name,
        "identifier": published.identifier,
        "dataset": published.dataset,
        "vintage": str(published.vintage),
        "version": str(published.version),
        "is_latest": published.latest,
        "modified": modified,
        "withdrawn": published.withdrawn is not None,
        "package": package,
        "subjects": [topic.code for topic in topics(published)],
        "has_place": published.place is not None,
        "facts": facts.decode(),
    }


def rows_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows in the columns of `SCHEMA`."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def encoded(rows: pa.Table) -> pa.Buffer:
    """Return rows in the columns of `SCHEMA` as a Parquet file with one row group."""
    sink = pa.BufferOutputStream()
    with _writer(sink) as writer:
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    return sink.getvalue()


def _writer(sink: pa.NativeFile) -> pq.ParquetWriter:
    # One page, so that the facts of neighbours, which differ little, are compressed together.
    return pq.ParquetWriter(
        sink,
        SCHEMA,
        use_dictionary=False,
        write_statistics=_WITH_STATISTICS,  # pyright: ignore[reportArgumentType]
        data_page_size=64 << 20,
        store_schema=False,
        **_COMPRESSION,
    )


def _template(_groups: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]) -> bytes:
    sink = pa.BufferOutputStream()
    with _writer(sink) as writer:
        writer.add_key_value_metadata(dict(metadata))
    return sink.getvalue().to_pybytes()


RECORDS = Form(schema=SCHEMA, encoded=encoded, facts=lambda _: {}, template=_template, share=_SHARE)
"""The form of a part."""
