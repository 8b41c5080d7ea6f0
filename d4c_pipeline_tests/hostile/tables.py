"""Tables that hold, or declare, more rows, columns, keys or bytes than memory and time have; Parquet, text, JSON, XML.

Workbooks are made in `workbooks`.
"""

# ruff: noqa: UP031 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline_tests.hostile.attack import SECONDS, Attack

_POINT = struct.pack("<BIdd", 1, 1, -75.0, 45.0)
_CLEAR = ("",)


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    yield from _parquet()
    yield from _text()
    yield from _json()
    yield from _markup()
    yield from _keys()
    yield from _dbf()


def _parquet() -> Iterator[Attack]:
    yield Attack("100 M nulls", "a.parquet", lambda p: nulls(p, 12, 10_000_000), ("D4C_READ",))
    yield Attack("a million times a text of 1 MB", "a.parquet", lambda p: repeated(p, 300_000, 1 << 20), ("D4C_READ",))
    yield Attack("10 M times a text of 10 kB", "a.parquet", lambda p: repeated(p, 2_000_000, 10_000), ("D4C_READ",))
    yield Attack("a text of 300 MB", "a.parquet", lambda p: repeated(p, 1, 300 << 20), ("D4C_READ",))
    yield Attack("lists of a million", "a.parquet", lambda p: lists(p, 200, 1_000_000), ("D4C_READ",))
    yield Attack("50,000 columns", "a.parquet", lambda p: columns(p, 50_000), ("D4C_READ_COLUMNS",))
    yield Attack("10,000 row groups", "a.parquet", groups)
    yield Attack("lists in lists", "a.parquet", lambda p: nested(p, 500))
    yield Attack("lists in lists in lists", "a.parquet", lambda p: nested(p, 5_000))
    yield Attack("2^62 rows", "a.parquet", lambda p: says_rows(p, 1 << 62))
    yield Attack("2^40 rows", "a.parquet", lambda p: says_rows(p, 1 << 40))
    yield Attack(
        "a footer of 2 GB",
        "a.parquet",
        lambda p: p.write_bytes(b"PAR1" + bytes(64) + struct.pack("<I", 0x7FFFFFFF) + b"PAR1"),
    )
    for seed in range(24):
        yield Attack(f"damaged {seed}", "a.parquet", lambda p, s=seed: damaged(p, s))


def nulls(path: Path, groups: int, rows: int) -> None:
    """A Parquet of `groups` row groups of nulls in two columns."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    group = pa.table([pa.nulls(rows, pa.int64()), pa.nulls(rows, pa.string())], schema=schema)
    with pq.ParquetWriter(path, schema, compression="zstd", data_page_size=1 << 30) as writer:
        for _ in range(groups):
            writer.write_table(group, row_group_size=rows)


def repeated(path: Path, count: int, length: int) -> None:
    """One long text, `count` times: a dictionary of one value."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array(["a" * length]))
    pq.write_table(
        pa.table({"a": column}),
        path,
        compression="zstd",
        dictionary_pagesize_limit=2 << 30,
        row_group_size=count,
        store_schema=False,
    )


def lists(path: Path, rows: int, length: int) -> None:
    """Rows with a list of the same number, `length` times."""
    schema = pa.schema([("a", pa.list_(pa.int64()))])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        values = pa.array(np.zeros(length * 10, np.int64))
        offsets = pa.array(np.arange(11, dtype=np.int32) * length)
        for _ in range(rows // 10):
            writer.write_table(pa.table([pa.ListArray.from_arrays(offsets, values)], schema=schema))


def columns(path: Path, count: int) -> None:
    pq.write_table(pa.table([pa.array([1])] * count, names=[f"c{n}" for n in range(count)]), path)


def groups(path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        batch = pa.table({"a": [1]}, schema=schema)
        for _ in range(10_000):
            writer.write_table(batch)


def nested(path: Path, depth: int) -> None:
    kind: pa.DataType = pa.int64()
    value: Any = 1
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    pq.write_table(pa.table({"a": pa.nulls(1, kind), "b": pa.array([1])}), path)


def _varint(value: int) -> bytes:
    value, out = (value << 1), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def says_rows(path: Path, rows: int) -> None:
    """A Parquet whose footer claims more rows than there are."""
    pq.write_table(pa.table({"a": pa.array(range(12_345))}), path, store_schema=False)
    data = path.read_bytes()
    (size,) = struct.unpack("<I", data[-8:-4])
    footer = data[-8 - size : -8].replace(_varint(12_345), _varint(rows))
    path.write_bytes(data[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1")


def damaged(path: Path, seed: int) -> None:
    """A Parquet with a few bytes of its footer or pages replaced, always the same ones for a seed."""
    table = pa.table({"a": range(1000), "b": [f"x{n}" for n in range(1000)], "c": [[n] for n in range(1000)]})
    pq.write_table(table, path)
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    (size,) = struct.unpack("<I", data[-8:-4])
    where = (len(data) - 8 - size, len(data) - 8) if seed % 2 else (4, len(data) - 8 - size)
    for at in random.integers(*where, 3):
        data[at] = int(random.integers(256))
    path.write_bytes(data)


def _text() -> Iterator[Attack]:
    yield Attack(
        "a field of 300 MB", "a.csv", lambda p: p.write_bytes(b"a,b\n1," + b"x" * (270 << 20) + b"\n"), ("D4C_READ",)
    )
    yield Attack(
        "a quoted field of 300 MB",
        "a.csv",
        lambda p: p.write_bytes(b'a,b\n1,"' + b"x,\n" * (90 << 20) + b'"\n'),
        ("D4C_READ",),
    )
    yield Attack(
        "a quote that does not end",
        "a.csv",
        lambda p: p.write_bytes(b'a,b\n1,"' + b"2\n1," * (3 << 20)),
        ("is never closed",),
    )
    yield Attack("a line of names of 100 MB", "a.csv", lambda p: p.write_bytes(b"a" * (90 << 20) + b",b\n1,2\n"), ("",))
    yield Attack(
        "a million columns",
        "a.csv",
        lambda p: p.write_bytes(b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n" + b"1," * 999_999 + b"1\n"),
        ("D4C_READ_COLUMNS",),
    )
    yield Attack(
        "30,000 columns, 20 rows",
        "a.csv",
        lambda p: p.write_bytes(b",".join(b"c%d" % n for n in range(30_000)) + b"\n" + (b"1," * 29_999 + b"1\n") * 20),
        ("D4C_READ_COLUMNS",),
    )
    yield Attack("one line of 300 MB", "a.csv", lambda p: p.write_bytes(b"1" * (270 << 20)), ("",))
    yield Attack("100 MB of NUL", "a.csv", lambda p: p.write_bytes(bytes(90 << 20)), ("",))
    yield Attack("100 MB of delimiters", "a.csv", lambda p: p.write_bytes(b"a,b\n" + b"," * (90 << 20)), ("",))
    yield Attack("50 M empty lines", "a.csv", lambda p: p.write_bytes(b"a,b\n1,2\n" + b"\n" * 50_000_000))
    yield Attack(
        "a million names that are the same",
        "a.csv",
        lambda p: p.write_bytes(b"a," * 15_000 + b"a\n" + b"1," * 15_000 + b"1\n"),
        ("D4C_READ_COLUMNS",),
    )
    yield Attack(
        "9,000 names that are the same",
        "a.csv",
        lambda p: p.write_bytes(b"a," * 8_999 + b"a\n" + b"1," * 8_999 + b"1\n"),
        seconds=2 * SECONDS,  # within the limit of columns; some take a millisecond each
    )
    yield Attack(
        "ragged rows",
        "a.csv",
        lambda p: p.write_bytes(b"a,b\n" + b"".join(b"1" + b"," * n + b"\n" for n in range(1000))),
        ("",),
    )


def _encoded(text: str | bytes | Callable[[], str | bytes]) -> bytes:
    # Large texts are functions: what this process holds counts for every attack that it forks.
    made = text() if callable(text) else text
    return made.encode() if isinstance(made, str) else made


def _json() -> Iterator[Attack]:
    def write(text: str | bytes | Callable[[], bytes]) -> Callable[[Path], object]:
        return lambda p: p.write_bytes(_encoded(text))

    for depth in (1_000, 1_000_000):
        yield Attack(f"lists {depth:,} deep", "a.json", write("[" * depth + "]" * depth), ("",))
        yield Attack(f"values {depth:,} deep", "a.json", write('[{"a":' + "[" * depth + "]" * depth + "}]"))
        yield Attack(
            f"objects {depth:,} deep", "a.json", write('[{"a":' + '{"a":' * depth + "1" + "}" * depth + "}]"), ()
        )
        yield Attack(
            f"objects {depth:,} deep in a line",
            "a.jsonl",
            write('{"a":1}\n{"a":' + '{"a":' * depth + "1" + "}" * depth + "}\n"),
            (),
        )
        yield Attack(f"lists {depth:,} deep, open", "a.json", write("[" * depth), ("",))
    yield Attack("a text of 300 MB", "a.json", write(lambda: b'[{"a":"' + b"x" * (270 << 20) + b'"}]'), ("",))
    yield Attack("a number of 10 MB", "a.json", write(b'[{"a":' + b"9" * (10 << 20) + b"}]"), ("",))
    yield Attack("a number of 5,000 digits", "a.json", write(b'[{"a":' + b"9" * 5000 + b"}]"))
    yield Attack("a number with an exponent of a million", "a.json", write(b'[{"a":1e999999},{"a":1E-999999}]'))
    yield Attack(
        "20,000 distinct keys",
        "a.json",
        write(json.dumps([{f"k{n}": n} for n in range(20_000)])),
        ("D4C_READ_COLUMNS",),
    )
    # Within the limits, and a table of 25 million cells: as long as one of these may take.
    yield Attack(
        "5,000 distinct keys", "a.json", write(json.dumps([{f"k{n}": n} for n in range(5_000)])), seconds=3 * SECONDS
    )
    yield Attack(
        "20,000 distinct keys in lines",
        "a.jsonl",
        write("\n".join(json.dumps({f"k{n}": n}) for n in range(20_000))),
        ("D4C_READ_COLUMNS",),
    )
    yield Attack(
        "20,000 keys in one object",
        "a.json",
        write(json.dumps([{f"k{n}": n for n in range(20_000)}])),
        ("D4C_READ_COLUMNS",),
    )
    yield Attack(
        "20,000 keys of 20,000 objects", "a.json", write(json.dumps({f"k{n}": {"a": 1} for n in range(20_000)})), ("",)
    )
    feature = '{"type":"Feature","properties":{"k%d":1},"geometry":{"type":"Point","coordinates":[1,1]}}'
    features = ",".join(feature % n for n in range(20_000))
    yield Attack(
        "20,000 distinct properties",
        "a.geojson",
        write('{"type":"FeatureCollection","features":[' + features + "]}"),
        ("D4C_READ_COLUMNS",),
        "vector",
    )
    yield Attack(
        "20,000 distinct properties in lines",
        "a.geojsonl",
        write("\n".join(feature % n for n in range(20_000))),
        ("D4C_READ_COLUMNS",),
        "vector",
    )
    yield Attack(
        "GeoJSON, a text of 200 MB",
        "a.geojson",
        write(
            lambda: (
                b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"a":"'
                + b"x" * (200 << 20)
                + b'"},"geometry":{"type":"Point","coordinates":[1,1]}}]}'
            )
        ),
        (),
        "vector",
    )
    attributes = ",".join('{"attributes":{"k%d":1},"geometry":{"x":1,"y":1}}' % n for n in range(20_000))
    fields = ",".join('{"name":"k%d","type":"esriFieldTypeInteger"}' % n for n in range(20_000))
    yield Attack(
        "Esri JSON, 20,000 fields",
        "a.json",
        write(
            '{"geometryType":"esriGeometryPoint","spatialReference":{"wkid":4326},"fields":['
            + fields
            + '],"features":['
            + attributes
            + "]}"
        ),
        ("D4C_READ_COLUMNS",),
        "vector",
    )


def _markup() -> Iterator[Attack]:
    gml = '<c:FeatureCollection xmlns:c="http://c" xmlns:gml="http://www.opengis.net/gml">{}</c:FeatureCollection>'
    point = "<c:g><gml:Point srsName='EPSG:4326'><gml:pos>45 -75</gml:pos></gml:Point></c:g>"
    kml = '<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{}</Document></kml>'
    place = "<Point><coordinates>-75,45</coordinates></Point>"
    member = "<gml:featureMember><c:f>{}" + point + "</c:f></gml:featureMember>"

    def write(text: str | Callable[[], str]) -> Callable[[Path], object]:
        return lambda p: p.write_bytes(_encoded(text))

    distinct = "".join(member.format(f"<c:k{n}>1</c:k{n}>") for n in range(20_000))
    yield Attack("GML, 20,000 distinct elements", "a.gml", write(gml.format(distinct)), ("D4C_READ_COLUMNS",), "vector")
    yield Attack(
        "GML, a text of 100 MB",
        "a.gml",
        write(lambda: gml.format(member.format(f"<c:a>{'x' * (90 << 20)}</c:a>"))),
        (),
        "vector",
    )
    yield Attack(
        "GML, 100,000 attributes",
        "a.gml",
        write(gml.format(member.format("<c:a " + " ".join(f'a{n}="1"' for n in range(100_000)) + ">1</c:a>"))),
        (),
        "vector",
    )
    yield Attack(
        "GML, a position list of 100 MB",
        "a.gml",
        write(
            lambda: gml.format(
                "<gml:featureMember><c:f><c:a>1</c:a><c:g><gml:LineString><gml:posList>"
                + "1 1 " * 25_000_000
                + "</gml:posList></gml:LineString></c:g></c:f></gml:featureMember>"
            )
        ),
        (),
        "vector",
        {"crs": "EPSG:4326"},
    )
    data = "".join(
        f'<Placemark><ExtendedData><Data name="k{n}"><value>1</value></Data></ExtendedData>{place}</Placemark>'
        for n in range(20_000)
    )
    yield Attack("KML, 20,000 distinct names", "a.kml", write(kml.format(data)), ("D4C_READ_COLUMNS",), "vector")
    yield Attack(
        "KML, a text of 100 MB",
        "a.kml",
        write(lambda: kml.format(f"<Placemark><name>{'x' * (90 << 20)}</name>{place}</Placemark>")),
        (),
        "vector",
    )
    yield Attack(
        "GML, a comment of 100 MB",
        "a.gml",
        write(lambda: "<!-- " + "x" * (90 << 20) + " -->" + gml.format(member.format("<c:a>1</c:a>"))),
        (),
        "vector",
    )
    yield Attack(
        "GML, 20 MB of < before the element", "a.gml", write(lambda: "<?" * (10 << 20) + gml.format("")), (), "vector"
    )
    yield Attack(
        "GPX, 20,000 distinct extensions",
        "a.gpx",
        write(
            '<gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1">'
            + "".join(f'<wpt lat="45" lon="-75"><extensions><k{n}>1</k{n}></extensions></wpt>' for n in range(20_000))
            + "</gpx>"
        ),
        (),
        "vector",
    )


def _keys() -> Iterator[Attack]:
    def table(path: Path) -> None:
        pq.write_table(pa.table({"k": [f"v{n}" for n in range(20_000)] * 10, "b": list(range(200_000))}), path)

    yield Attack("20,000 parts", "a.parquet", table, ("more than",), outputs={"partition": {"by": "k", "over": 0}})

    def wide(path: Path) -> None:
        values = {f"c{n}": np.arange(20_000) for n in range(200)}
        pq.write_table(pa.table({"k": [f"v{n}" for n in range(20_000)], **values}), path)

    yield Attack(
        "20,000 parts of 200 columns", "a.parquet", wide, ("more than",), outputs={"partition": {"by": "k", "over": 0}}
    )


def _dbf() -> Iterator[Attack]:
    def dbf(records: int, header: int, size: int, fields: int = 1) -> Callable[[Path], object]:
        head = struct.pack("<B3BIHH20x", 3, 121, 1, 1, records, header, size)
        field = b"".join(
            f"F{n}".encode().ljust(11, b"\0") + b"C" + bytes(4) + bytes([10, 0]) + bytes(14) for n in range(fields)
        )
        return lambda p: p.write_bytes(head + field + b"\r" + b" 1234567890" * 3 + b"\x1a")

    yield Attack("DBF, 4 G records", "a.dbf", dbf(0xFFFFFFFF, 65, 11), ("",))
    yield Attack("DBF, 4 G records of no size", "a.dbf", dbf(0xFFFFFFFF, 65, 0), ("",))
    yield Attack("DBF, records of one byte", "a.dbf", dbf(40, 65, 1))
    yield Attack("DBF, a header of 64 kB", "a.dbf", dbf(3, 65535, 11), ("",))
    yield Attack("DBF, 2,000 fields", "a.dbf", dbf(3, 33 + 2000 * 32, 11, 2000), ("",))
