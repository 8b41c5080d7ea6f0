"""From a dataset's declaration to its source: the one place that knows which module speaks which protocol."""

from __future__ import annotations

from collections.abc import Mapping

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.port import Source


def open_source(dataset: Dataset, origins: Mapping[str, str]) -> Source:
    """Return the source of `dataset`; `origins` rewrites the origins of its addresses. Nothing is contacted yet."""
    return HttpFiles(dataset.source, origins=origins, vintages=dataset.fixed_vintages)
