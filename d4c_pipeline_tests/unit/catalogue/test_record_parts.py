"""Parts of records: grown parts are those of a rebuild, one change rewrites one part, and damage is seen."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.catalogue import row_groups
from d4c_pipeline.catalogue.record_parts import Part, files_of, manifest_of, parts_of, writing_parts
from d4c_pipeline.catalogue.records_parquet import SCHEMA
from d4c_pipeline.model.addresses import RECORD_PARTS, RECORDS_MANIFEST
from d4c_pipeline.model.errors import DataError, IntegrityError


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of 4 rows and parts of 32 rows on average."""
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 64)


def rows(dataset: str, count: int) -> pa.Table:
    columns = {"dataset": [dataset] * count, "id": [f"{dataset}-{number}" for number in range(count)]}
    return pa.Table.from_pydict(
        {field.name: columns.get(field.name, [None] * count) for field in SCHEMA}, schema=SCHEMA
    )


def write(root: Path, changed: Mapping[str, int], existing: tuple[Part, ...] = ()) -> tuple[Part, ...]:
    """Write the parts with `changed` numbers of rows, 0 for a dataset that goes."""
    with writing_parts(root, existing) as parts:
        for dataset, count in sorted(changed.items()):
            parts.before(dataset)
            if count:
                parts.put(dataset, rows(dataset, count))
    return parts_of((root / RECORDS_MANIFEST).read_bytes())


def test_parts_that_grew_and_shrank_have_the_bytes_of_parts_written_from_the_start(tmp_path: Path) -> None:
    chance = random.Random(15)
    counts = {f"set_{number:03}": chance.randint(1, 9) for number in range(0, 200, 2)}
    parts = write(tmp_path / "grown", counts)
    assert len(parts) > 8
    for turn in range(60):
        changed = {f"set_{chance.randrange(210):03}": chance.choice((0, 1, 5, 40)) for _ in range(1 + turn % 3)}
        counts = {name: count for name, count in (counts | changed).items() if count}
        parts = write(tmp_path / "grown", changed, parts)
        assert parts == write(tmp_path / f"anew{turn}", counts), changed
        assert [file.read_bytes() for file in files_of(tmp_path / "grown")] == [
            file.read_bytes() for file in files_of(tmp_path / f"anew{turn}")
        ]
    read = [each for file in files_of(tmp_path / "grown") for each in pq.read_table(file).column("id").to_pylist()]
    assert read == [f"{name}-{number}" for name in sorted(counts) for number in range(counts[name])]
    assert sum(part.rows for part in parts) == len(read)


def test_one_dataset_rewrites_one_part_and_reads_no_other(tmp_path: Path) -> None:
    parts = write(tmp_path, {f"set_{number:03}": 4 for number in range(100)})
    middle = parts[len(parts) // 2]
    files = files_of(tmp_path)
    for number, file in enumerate(files):
        if parts[number] is not middle:
            file.unlink()
    grown = write(tmp_path, {middle.first: 5}, parts)
    changed = [after for before, after in zip(parts, grown, strict=True) if before != after]
    assert [(part.first, part.last, part.rows) for part in changed] == [(middle.first, middle.last, middle.rows + 1)]
    assert changed[0].address == f"{RECORD_PARTS}/{changed[0].sha256[:16]}.parquet"


def test_no_release_is_one_part_without_rows_and_no_manifest_no_part(tmp_path: Path) -> None:
    assert files_of(tmp_path) == []
    (part,) = write(tmp_path, {})
    assert (part.first, part.last, part.rows) == ("", "", 0)
    assert pq.read_table(tmp_path / part.address).schema.names == SCHEMA.names
    (grown,) = write(tmp_path, {"stops": 2}, (part,))
    assert (grown.first, grown.last, grown.rows) == ("stops", "stops", 2)
    assert write(tmp_path, {"stops": 0}, (grown,)) == (part,)


def test_a_part_that_rotted_is_not_copied(tmp_path: Path) -> None:
    parts = write(tmp_path, {"stops": 3, "trees": 3})
    path = files_of(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"{path.name} on this machine has other bytes than were written"):
        write(tmp_path, {"stops": 4}, parts)
    assert parts_of((tmp_path / RECORDS_MANIFEST).read_bytes()) == parts


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"parts": [{}]}', b'{"parts": null}', b'{"parts": [1]}'])
def test_anything_else_than_a_manifest_is_refused_with_the_remedy(content: bytes) -> None:
    with pytest.raises(DataError, match=r"records\.json is no list of the parts.*d4c catalogue rebuild"):
        parts_of(content)


def test_a_manifest_with_a_digest_that_leads_elsewhere_is_refused() -> None:
    manifest = manifest_of((Part("stops", "trees", 7, 120, "ab" * 32),))
    with pytest.raises(DataError, match=r"records\.json is no list of the parts"):
        parts_of(manifest.replace(b"ab" * 32, b"../../releases/a"))


def test_a_manifest_names_the_parts_from_where_it_lies() -> None:
    part = Part("stops", "trees", 7, 120, "ab" * 32)
    assert manifest_of([part]).decode() == (
        '{\n "rows": 7,\n "parts": [\n  {\n   "href": "record-parts/abababababababab.parquet",\n   "first": "stops",\n'
        f'   "last": "trees",\n   "rows": 7,\n   "size": 120,\n   "sha256": "{"ab" * 32}"\n  }}\n ]\n}}'
    )
    assert parts_of(manifest_of([part])) == (part,)
