"""The manifest as a type: its bytes, older manifests, its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.manifest import Document, Manifest, schema_of
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.workspace.builds import BuildMark

DOCS = Path(__file__).parents[3] / "docs"
WRITTEN: dict[str, Any] = {
    "release": "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta",
    "dataset": "places",
    "vintage": "2021",
    "version": "0.1.0-beta",
    "license": {"title": "Open Licence - Example City", "url": "https://example.org/licence"},
    "definition_sha256": "d" * 64,
    "native_files": [
        {"name": "é.csv", "url": "https://example.org/é.csv", "sha256": "a" * 64, "size": 12, "last_modified": None}
    ],
    "parameters": {"key": ["id"]},
    "code": {"package": "d4c-pipeline", "version": "0.1.0", "commit": None, "modified": False},
    "lock_sha256": None,
    "libraries": {"duckdb": "1.5.5"},
    "summary": {
        "rows": 4,
        "columns": [
            {"name": "id", "type": "int64", "source": None, "description_en": None, "description_fr": None},
        ],
        "key": ["id"],
        "crs": "EPSG:4326",
        "bounds": [-75.0, 45.5, -74.0, 46.0],
        "geometry_types": ["Point"],
        "report": {"null": 0},
        "parts": [{"name": "", "rows": 4, "bounds": [-75.0, 45.5, -74.0, 46.0]}],
        "partition": None,
    },
    "derived": {"parameters": {".fgb": {}}, "tools": {}},
    "outputs": [
        {"name": "p.parquet", "role": "data", "sha256": "b" * 64, "size": 9, "rows": 4, "bounds": None},
        {"name": "p.fgb", "role": "desktop", "sha256": "c" * 64, "size": 9, "rows": 4},
        {"name": "profile.json", "role": "profile", "sha256": "e" * 64, "size": 9},
    ],
}


def test_reading_and_writing_keep_every_byte() -> None:
    content = (json.dumps(WRITTEN, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    manifest = Manifest.from_bytes(content)

    assert manifest.to_bytes() == content
    assert manifest.outputs[1].role is ArtifactRole.DESKTOP
    assert manifest.summary.bounds == (-75.0, 45.5, -74.0, 46.0)


def test_a_manifest_of_before_derived_files_and_parts_is_read() -> None:
    earlier = {key: value for key, value in WRITTEN.items() if key not in ("derived", "definition_sha256")}
    earlier["summary"] = {key: value for key, value in WRITTEN["summary"].items() if key not in ("parts", "partition")}

    manifest = Manifest.from_bytes(json.dumps(earlier).encode())

    assert (manifest.derived.parameters, manifest.definition_sha256, manifest.summary.parts) == ({}, None, ())


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"release": "x"}', json.dumps(WRITTEN)[:-9].encode()])
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="manifest cannot be read"):
        Manifest.from_bytes(content)


@pytest.mark.parametrize("files", ["outputs", "native_files"])
@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b.parquet", "..", ".", "", ".x", "..\\x", "C:\\x", "a\n.parquet", "a\x00"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(files: str, name: str) -> None:
    document = json.loads(json.dumps(WRITTEN))
    document[files][-1]["name"] = name
    with pytest.raises(IntegrityError, match="is no file name"):
        Manifest.from_bytes(json.dumps(document).encode())


@pytest.mark.parametrize(("name", "document"), [("manifest", Manifest), ("build", BuildMark)])
def test_the_published_schema_is_current(name: str, document: type[Document]) -> None:
    published = DOCS.joinpath(f"{name}.schema.json").read_text("utf-8")
    assert published == schema_of(document), "run: .venv/bin/python docs/write_schemas.py"
