"""The registry of formats: a format plugs in from one file, and no library is loaded before a file needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery, formats, registry

TALLY = '''
"""Tallies: lines of `name|count`."""

import pyarrow as pa

from d4c_pipeline.readers import rows
from d4c_pipeline.readers.registry import Format
from d4c_pipeline.tables.native import Native


def _read(path):
    pairs = [line.split("|") for line in path.read_text("utf-8").splitlines()]
    table = pa.table({"name": [name for name, _ in pairs], "count": pa.array([int(count) for _, count in pairs])})
    return Native(path.name, table.schema, iter(table.to_batches()), None, report={})


def _open(member, processing, threads):
    return [rows.part(member, processing, None, lambda: _read(member.path), threads)]


FORMATS = (Format(beginnings={".tally": ()}, group="text", open=_open),)
'''

# Tallies of places: GeoJSON under another suffix, in a file that states its number of features.
PLACES = '''
"""Places: GeoJSON with the member `places`, the number of features."""

import json

from d4c_pipeline.readers.registry import Format


def _open(member, processing, threads):
    from d4c_pipeline.readers import preparation, vector

    class Places(preparation.LayerRules):
        single_layer = True

        def dataset_name(self, member, path):
            return f"GeoJSON:{path}"

        def check(self, member):
            return json.loads(member.path.read_text("utf-8"))["places"]

        def examine(self, layer):
            exact = super().examine(layer)
            exact.left_out = ["internal"]
            return exact

    return vector.parts(member, processing, Places())


FORMATS = (Format(beginnings={".tallied": (b"{",)}, group="features", open=_open),)
'''


@pytest.fixture
def plugged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    registry._by_suffix.cache_clear()
    yield folder
    registry._by_suffix.cache_clear()
    for name in [name for name in sys.modules if name.startswith("d4c_pipeline.readers.formats.tall")]:
        del sys.modules[name]


def test_one_file_adds_a_format(plugged_in: Path, tmp_path: Path) -> None:
    (plugged_in / "tally.py").write_text(TALLY, "utf-8")
    native = tmp_path / "birds.tally"
    native.write_text("loon|3\nheron|5\n", "utf-8")
    work = tmp_path / "work"
    work.mkdir()
    read = delivery.read(TableProcessing(kind="table"), [native], work)
    assert [row for batch in read.batches for row in batch.to_pylist()] == [
        {"name": "loon", "count": 3},
        {"name": "heron", "count": 5},
    ]


def test_one_file_adds_a_format_of_gdal_with_its_rules(plugged_in: Path, tmp_path: Path) -> None:
    (plugged_in / "tallied.py").write_text(PLACES, "utf-8")
    native = tmp_path / "birds.tallied"
    birds = [{"name": "loon", "internal": 1}, {"name": "heron", "internal": 2}]
    features = [
        {"type": "Feature", "properties": bird, "geometry": {"type": "Point", "coordinates": [-75, 45]}}
        for bird in birds
    ]
    document = {"type": "FeatureCollection", "features": features}

    def read(places: int) -> list[str]:
        native.write_text(json.dumps(document | {"places": places}), "utf-8")
        work = tmp_path / f"work{places}"
        work.mkdir()
        found = delivery.read(VectorProcessing(kind="vector"), [native], work)
        assert found.attributes.names == ["name"]
        return [row["name"] for batch in found.batches for row in batch.to_pylist()]

    assert read(2) == ["loon", "heron"]
    with pytest.raises(DataError, match=r"birds\.tallied .*2.*3"):
        read(3)


def test_two_formats_of_one_suffix_tell_their_files_apart(plugged_in: Path) -> None:
    (plugged_in / "tally.py").write_text(TALLY, "utf-8")
    (plugged_in / "tally_too.py").write_text(TALLY, "utf-8")
    with pytest.raises(ValueError, match=r"\.tally"):
        registry.is_readable("birds.tally")


@pytest.mark.parametrize("module", ["geometry.cleaning", "geoparquet", "readers.delivery", "readers.vector"])
def test_pandas_is_not_loaded(module: str) -> None:
    code = f"import sys, d4c_pipeline.{module}; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_registry_loads_no_library_of_a_reader() -> None:
    code = (
        "import sys; from d4c_pipeline.readers import delivery, registry; registry.is_readable('a.csv');"
        "print([name for name in ('pyogrio', 'shapely', 'pyproj', 'python_calamine', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
