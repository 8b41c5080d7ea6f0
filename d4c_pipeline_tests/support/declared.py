"""Datasets declared in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline_tests.support.declarations import a_dataset

Declare = Callable[..., Dataset]


def declaring(folder: Path) -> Declare:
    """Return a function that makes a dataset of the given `processing` fields; `sql_text` becomes the file of `sql`."""

    def make(*, kind: str = "vector", sql_text: str | None = None, **processing: Any) -> Dataset:
        folder.mkdir(exist_ok=True)
        if sql_text is not None:
            (folder / "transform.sql").write_text(sql_text, "utf-8")
            processing["sql"] = "transform.sql"
        return a_dataset(folder=folder, processing={"kind": kind, **processing})

    return make
