"""At which level geometry is compressed: harder where it pays, as sizes at a few levels tell."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.geoparquet import encode
from d4c_pipeline.tables.columns import BBOX, GEOMETRY

WKB = pa.table({GEOMETRY: pa.array([b"\x01\x01\x00\x00\x00" + bytes(16)] * 10, pa.binary())})


@pytest.mark.parametrize(
    ("sizes", "level"),
    [
        ({1: 1000, 3: 976, 5: 700}, 1),  # points: nothing gained by the second look
        ({1: 1000, 3: 975, 5: 970}, 3),
        ({1: 1000, 3: 900, 5: 878}, 3),
        ({1: 1000, 3: 800, 5: 780}, 4),  # buildings
        ({1: 1000, 3: 800, 5: 761}, 4),
        ({1: 1000, 3: 800, 5: 760}, 5),  # boundaries
    ],
)
def test_the_level_follows_from_what_each_makes_of_the_first_group(
    monkeypatch: pytest.MonkeyPatch, sizes: dict[int, int], level: int
) -> None:
    monkeypatch.setattr(encode, "encoded", lambda _, choice: bytes(sizes[choice.geometry_level]))
    assert encode.choose(WKB).geometry_level == level


def test_noise_is_not_compressed_harder() -> None:
    random = np.random.default_rng(1)
    rows = [b"\x01\x01\x00\x00\x00" + random.bytes(16) for _ in range(5000)]
    assert encode.choose(pa.table({GEOMETRY: pa.array(rows, pa.binary())})).geometry_level == 1


def test_the_covering_has_a_level_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    corners = [pa.array(np.sort(random.normal(size=20_000)).astype(np.float32)) for _ in encode.CORNERS]
    box = pa.StructArray.from_arrays(corners, fields=list(encode.BBOX_TYPE))
    table = pa.table({"a": pa.array(range(20_000)), BBOX: box})

    def sizes() -> list[int]:
        group = pq.read_metadata(pa.BufferReader(encode.encoded(table, encode.Choice.usual(["a"])))).row_group(0)
        assert {group.column(at).compression for at in range(5)} == {"ZSTD"}
        return [group.column(at).total_compressed_size for at in range(5)]

    own = sizes()
    monkeypatch.setattr(encode, "COVERING_LEVEL", encode.COMPRESSION_LEVEL)
    usual = sizes()
    assert own[0] == usual[0]
    assert all(one != other for one, other in zip(own[1:], usual[1:], strict=True))
