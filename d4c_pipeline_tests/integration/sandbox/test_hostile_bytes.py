"""Foreign bytes end in a refusal that names them, in 10 s of a processor and 1.5 GB: no crash, bug or full disk.

A third of the attacks is tried here, chosen by their names, with those in `ALWAYS`; `benchmarks/hostile.py` tries all.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.geometry import nesting
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, PermanentError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests import hostile
from d4c_pipeline_tests.support.strides import stride

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


# Each ended a process before there was a limit for it.
ALWAYS = (
    "an endless view without rows (vector)",
    "a tree that leads to one page",
    "20,000 parts",
    "20,000 distinct keys",
    "20,000 keys of 20,000 objects",
    "damaged GeoPackage 0",
)
THINNED = stride(6)  # an attack costs half a second; `benchmarks/hostile.py` tries all


def _is_tried(name: str) -> bool:
    # By the name alone: an attack that is added does not change which others are tried.
    return name in ALWAYS or zlib.crc32(name.encode()) % THINNED == 0


def _groups() -> Iterator[tuple[str, list[str]]]:
    # A process takes a second to start: it tries ten attacks.
    for module in hostile.MODULES:
        names = [name for name, each in hostile.attacks(module).items() if each.quick and _is_tried(name)]
        for start in range(0, len(names), 10):
            yield f"{module} {start}", names[start : start + 10]


@pytest.mark.parametrize(("_group", "names"), [pytest.param(*each, id=each[0]) for each in _groups()])
def test_foreign_bytes_are_withstood(_group: str, names: list[str]) -> None:
    assert hostile.wrong(names) == {}


def test_the_attacks_that_are_always_tried_are_there_and_quick() -> None:
    attacks = hostile.attacks()
    assert [name for name in ALWAYS if name not in attacks or not attacks[name].quick] == []


def test_a_refusal_names_the_setting_and_the_setting_is_obeyed(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"c{n}": [n] for n in range(30)}), wide)
    monkeypatch.setenv("D4C_READ_COLUMNS", "29")
    with pytest.raises(DataError, match=r"has 30 columns, more than 29\. .* raise D4C_READ_COLUMNS"):
        build(declare(kind="table"), VINTAGE, [wide], tmp_path / "out")
    monkeypatch.setenv("D4C_READ_COLUMNS", "30")
    assert build(declare(kind="table"), VINTAGE, [wide], tmp_path / "out").summary.rows == 1


def test_one_budget_is_spent_by_all_levels_of_an_archive(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, outer = tmp_path / "inner.zip", tmp_path / "outer.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.csv", "a,b\n" + "1,2\n" * 199)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "1.zip")
        archive.write(inner, "2.zip")
    total = 2 * (inner.stat().st_size + 800)
    monkeypatch.setenv("D4C_UNPACK_BYTES", str(total - 1))
    table = declare(kind="table", member="1.zip/*")
    with pytest.raises(DataError, match=rf"2\.zip would unpack to {total:,} bytes.*D4C_UNPACK_BYTES"):
        build(table, VINTAGE, [outer], tmp_path / "out")
    monkeypatch.setenv("D4C_UNPACK_BYTES", str(total))
    monkeypatch.setenv("D4C_UNPACK_MEMBERS", "3")
    with pytest.raises(DataError, match=r"2\.zip holds more than 3 members.*D4C_UNPACK_MEMBERS"):
        build(table, VINTAGE, [outer], tmp_path / "out")
    monkeypatch.setenv("D4C_UNPACK_MEMBERS", "4")
    assert build(table, VINTAGE, [outer], tmp_path / "out").summary.rows == 199


def test_limits_are_numbers_and_amounts() -> None:
    read = Limits.from_environment({"D4C_UNPACK_BYTES": "1.5GB", "D4C_READ_VALUE": "512MiB", "D4C_READ_DEPTH": "9"})
    assert (read.total_bytes, read.value_bytes, read.depth) == (1_500_000_000, 512 << 20, 9)
    for wrong in ("many", "-1", "0", "1XB"):
        with pytest.raises(PermanentError, match=f"D4C_READ_COLUMNS is '{wrong}'"):
            Limits.from_environment({"D4C_READ_COLUMNS": wrong})


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "axes"), [(7, 2), (1007, 3), (2007, 3), (3007, 4), (0x80000007, 3), (0x20000007, 2)])
def test_depth_is_counted_in_all_kinds_of_wkb(order: str, kind: int, axes: int) -> None:
    srid = struct.pack(f"{order}I", 4326) if kind & 0x20000000 else b""
    level = struct.pack(f"{order}BI", order == "<", kind) + srid + struct.pack(f"{order}I", 2)
    point = struct.pack(f"{order}BI{axes}d", order == "<", kind - 6, *[1.0] * axes)
    if srid:
        point = struct.pack(f"{order}BII{axes}d", order == "<", kind - 6, 4326, *[1.0] * axes)
    # A point and then what is nested, so that no two headers of collections stand beside each other.
    for depth in (8, 9):
        wkb = (level + point) * depth + point
        assert nesting.is_deep(wkb, 8) is (depth > 8)
        rows = nesting.deep_rows(pa.array([point, None, wkb, point], pa.binary())[1:], 8)
        assert rows.tolist() == ([1] if depth > 8 else [])
