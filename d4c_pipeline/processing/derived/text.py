"""A gzipped CSV of data that fits into a spreadsheet, the same bytes each time.

UTF-8 with a byte order mark, without which spreadsheets assume another encoding; RFC 4180 with CRLF; quoted texts, so
that an empty text differs from null. Larger data is refused: programs read the Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.derived.finished import Finished, for_csv

# The last row of a spreadsheet is 1,048,576; one is the header.
MOST_ROWS = 1_048_575
MOST_BYTES = 256 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REMEDY = "Leave outputs.csv out; the Parquet file holds everything"


def write_csv(path: Path, data: Finished) -> None:
    """Write all rows of `data`, geometry as WKT in the last column.

    Numbers stand with a point and without thousands marks, dates and times in ISO 8601, missing values are empty.
    Raises DataError for more rows than a spreadsheet takes or more than 256 MiB of text.
    """
    if data.rows > MOST_ROWS:
        raise DataError(f"A CSV of {data.rows:,} rows is asked for; {MOST_ROWS:,} at most fit a spreadsheet", _REMEDY)
    stream = data.stream(data.attributes, for_csv)
    schema = stream.schema
    if data.geometry is not None:
        schema = schema.set(len(schema) - 1, pa.field(data.geometry, pa.string()))
    options = pa_csv.WriteOptions(eol="\r\n", quoting_header="needed", batch_size=4_096)
    # Arrow's own gzip writes neither a name nor a time, and comes with its wheel: other zlibs give other bytes.
    with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "gzip") as packed:
        packed.write(_BYTE_ORDER_MARK)
        with pa_csv.CSVWriter(packed, schema, write_options=options) as writer:
            for batch in _with_wkt(stream, schema, data.geometry):
                writer.write_batch(batch)
                if packed.tell() > MOST_BYTES:
                    raise DataError(f"The CSV grows over {MOST_BYTES >> 20} MiB of text", _REMEDY)


def _with_wkt(stream: pa.RecordBatchReader, schema: pa.Schema, geometry: str | None) -> Iterator[pa.RecordBatch]:
    for batch in stream:
        arrays = batch.columns
        if geometry is not None:
            shapes = shapely.from_wkb(arrays[-1].to_numpy(zero_copy_only=False))
            # Every digit that the coordinate has, none that it has not.
            wkt = shapely.to_wkt(shapes, rounding_precision=-1, output_dimension=4)
            arrays = [*arrays[:-1], pa.array(wkt, pa.string())]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
