"""Writes the JSON Schemas of manifest.json and build.json: `.venv/bin/python docs/write_schemas.py`."""

from __future__ import annotations

from pathlib import Path

from d4c_pipeline.model.manifest import Manifest, schema_of
from d4c_pipeline.workspace.builds import BuildMark

if __name__ == "__main__":
    for name, document in (("manifest", Manifest), ("build", BuildMark)):
        Path(__file__).with_name(f"{name}.schema.json").write_text(schema_of(document), "utf-8")
