"""Declarations of datasets for tests, as attributes, as a `Dataset` and as the YAML of a definition.

Every test that needs a declaration builds it here and states only the fields that matter to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from d4c_pipeline.model.dataset import Dataset


def declaration(dataset_id: str = "dataset_of_test", **fields: Any) -> dict[str, Any]:
    """The attributes of a valid declaration.

    `fields` replace complete fields, but for `name`, whose parts are replaced one by one; None leaves a field out.
    """
    name = {
        "region": "ca",
        "source": "test",
        "dguid": "2021A000011124",
        "package": "d4c-datapkg-test",
        "theme": dataset_id,
        **fields.pop("name", {}),
    }
    attributes: dict[str, Any] = {
        "id": dataset_id,
        "name": {part: value for part, value in name.items() if value is not None},
        "title": {"en": "Test", "fr": "Essai"},
        "description": {"en": "Test", "fr": "Essai"},
        "license": "ogl-canada-2.0",
        "creators": [{"name": "Somebody"}],
        "vintages": ["2021"],
        "source": {"kind": "http", "urls": ["http://127.0.0.1/data.zip"]},
        "processing": {"kind": "vector"},
        **fields,
    }
    return {field: value for field, value in attributes.items() if value is not None}


def a_dataset(dataset_id: str = "dataset_of_test", *, folder: Path | None = None, **fields: Any) -> Dataset:
    """The dataset of a `declaration`, with the files of its definition in `folder`."""
    dataset = Dataset.model_validate(declaration(dataset_id, **fields))
    return dataset if folder is None else dataset.model_copy(update={"folder": folder})


def write_definition(file: Path, attributes: dict[str, Any]) -> Path:
    """Write the YAML of a declaration, and return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"type": "d4c_pipeline.PublishedDataset", "attributes": attributes}
    file.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), "utf-8")
    return file
