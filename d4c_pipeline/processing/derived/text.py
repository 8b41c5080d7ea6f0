"""Writes a gzipped CSV of data that fits into a spreadsheet, the same bytes each time.

UTF-8 with a byte order mark, without which spreadsheets assume another encoding; RFC 4180 with CRLF; quoted texts, so
that an empty text differs from null. Larger data is rejected: programs read the Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import shapely

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.derived.finished import Finished, for_csv

# A spreadsheet has 1,048,576 rows, of which the header takes the first.
MOST_ROWS = 1_048_575
MOST_BYTES = 256 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REMEDY = "Remove outputs.csv; the Parquet file holds all rows"


def write_csv(path: Path, data: Finished) -> None:
    """Write all rows of `data`, geometry as WKT in the last column.

    Numbers have a decimal point and no thousands separators; dates and times are in ISO 8601; missing values are empty.
    Raises DataError for more rows than a spreadsheet holds or more than 256 MiB of text.
    """
    if data.rows > MOST_ROWS:
        raise DataError(f"The CSV would have {data.rows:,} rows; a spreadsheet holds {MOST_ROWS:,}", _REMEDY)
    stream = data.stream(data.attributes, for_csv)
    schema = stream.schema
    if data.geometry is not None:
        schema = schema.set(len(schema) - 1, pa.field(data.geometry, pa.string()))
    options = pa_csv.WriteOptions(eol="\r\n", quoting_header="needed", batch_size=4_096)
    # Arrow's gzip writes no name and no time, and ships in Arrow's wheel: another zlib gives other bytes.
    with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "gzip") as packed:
        packed.write(_BYTE_ORDER_MARK)
        with pa_csv.CSVWriter(packed, schema, write_options=options) as writer:
            for batch in _with_wkt(stream, schema, data.geometry):
                writer.write_batch(batch)
                if packed.tell() > MOST_BYTES:
                    raise DataError(f"The CSV exceeds {MOST_BYTES >> 20} MiB of text", _REMEDY)


def _with_wkt(stream: pa.RecordBatchReader, schema: pa.Schema, geometry: str | None) -> Iterator[pa.RecordBatch]:
    for batch in stream:
        arrays = batch.columns
        if geometry is not None:
            shapes = shapely.from_wkb(arrays[-1].to_numpy(zero_copy_only=False))
            # -1 writes full precision.
            wkt = shapely.to_wkt(shapes, rounding_precision=-1, output_dimension=4)
            arrays = [*arrays[:-1], pa.array(wkt, pa.string())]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
