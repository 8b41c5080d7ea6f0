"""Datasets declared in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dataset import Dataset

Declare = Callable[..., Dataset]


def declaring(folder: Path) -> Declare:
    """Return a function that makes a dataset of the given `processing` fields; `sql_text` becomes the file of `sql`."""

    def make(*, kind: str = "vector", sql_text: str | None = None, **processing: Any) -> Dataset:
        folder.mkdir(exist_ok=True)
        if sql_text is not None:
            (folder / "transform.sql").write_text(sql_text, "utf-8")
            processing["sql"] = "transform.sql"
        name = {
            "region": "ca",
            "source": "test",
            "dguid": "2021A000011124",
            "package": "d4c-datapkg-test",
            "theme": "t",
        }
        dataset = Dataset.model_validate(
            {
                "id": "dataset_of_test",
                "name": name,
                "title": {"en": "Test", "fr": "Essai"},
                "description": {"en": "Test", "fr": "Essai"},
                "license": "ogl-canada-2.0",
                "creators": [{"name": "Somebody"}],
                "vintages": ["2021"],
                "source": {"kind": "http", "urls": ["http://127.0.0.1/data.zip"]},
                "processing": {"kind": kind, **processing},
            }
        )
        return dataset.model_copy(update={"folder": folder})

    return make
