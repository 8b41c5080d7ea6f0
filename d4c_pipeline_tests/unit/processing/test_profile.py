"""The profile depends on the data alone: the same bytes for any number of threads and any order of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.geometry.shapes import Facts
from d4c_pipeline.processing.profile import profile

THREADS = (1, 2, 4)


def test_threads_and_the_order_of_rows_do_not_change_a_byte(tmp_path: Path) -> None:
    count = 6_000  # several row groups, so that threads share the work
    numbers = np.arange(count)
    table = pa.table(
        {
            "zero": np.where(numbers % 2, 0.0, -0.0),  # least and greatest: equal values with different signs
            "least_zero": np.where(numbers % 3, numbers / 7, np.where(numbers % 2, 0.0, -0.0)),
            "single": pa.array(np.where(numbers % 2, 0.0, -0.0).astype(np.float32)),
            "odd": np.where(numbers % 5, numbers / 3, np.nan),
            "text": pa.array([None if n % 11 == 0 else f"é{n % 97}" for n in numbers]),
            "nested": pa.array([[float(n % 4)] for n in numbers]),
        }
    )
    random, profiles = np.random.default_rng(14), set[str]()
    for turn, threads in enumerate(THREADS * 4):
        file = tmp_path / f"{turn}.parquet"
        pq.write_table(table.take(random.permutation(count)), file, row_group_size=2_048)
        spill = tmp_path / f"spill-{turn}"
        spill.mkdir()
        profiles.add(json.dumps(profile([file], None, spill=spill, threads=threads)))
    (only,) = profiles
    columns = json.loads(only)["columns"]
    assert "-0.0" not in only
    assert columns["zero"] == {"type": "double", "nulls": 0, "distinct": 1, "min": 0.0, "max": 0.0}
    assert columns["odd"]["max"] == "nan"


@pytest.mark.parametrize("bounds", [(-0.0, -0.0, 0.0, 0.0), (0.0, -0.0, -0.0, -0.0)])
def test_bounds_have_no_negative_zero(tmp_path: Path, bounds: tuple[float, float, float, float]) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "data.parquet")

    found = profile(tmp_path / "data.parquet", Facts(total_bounds=bounds), spill=tmp_path)

    assert json.dumps(found["geometry"]["bounds"]) == "[0.0, 0.0, 0.0, 0.0]"
