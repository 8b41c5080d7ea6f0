"""The component behind every `defs.yaml`: a dataset becomes its chain of assets and a job that publishes it.

What may stand in the YAML is `model.dataset.Dataset`. Concept: https://docs.dagster.io/guides/build/components
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster.components.scaffold.scaffold import ScaffoldRequest, scaffold_with
from pydantic import BaseModel

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.orchestration.assets import dataset_assets

_SCAFFOLD: dict[str, Any] = {
    "name": {
        "region": "ca",
        "source": "statcan",
        "dguid": "2021A000011124",
        "package": "d4c-datapkg-statistical",
        "theme": "my_theme",
    },
    "title": {"en": "Title", "fr": "Titre"},
    "description": {"en": "What it holds.", "fr": "Ce qu'il contient."},
    "license": "ogl-canada-2.0",
    "creators": [{"name": "Statistics Canada", "ror": "05k71ja87"}],
    "series": "editions",
    "vintages": ["2021"],
    "source": {"kind": "http", "urls": ["https://example.org/data_{vintage}.zip"]},
    "processing": {"kind": "vector", "key": []},
    "publication": {"policy": "automatic", "stage": "beta", "initial_version": "0.1.0"},
}


class PublishedDatasetScaffolder(dg.Scaffolder):
    """Writes a `defs.yaml` that is valid as it stands, to be filled in."""

    def scaffold(self, request: ScaffoldRequest) -> None:
        """Write the file into the new folder, whose name becomes the dataset's id."""
        dg.scaffold_component(request, {"id": request.target_path.name, **_SCAFFOLD})


@scaffold_with(PublishedDatasetScaffolder)
@dataclass
class PublishedDataset(dg.Component):
    """A dataset that is fetched, processed, versioned, deposited, distributed and catalogued."""

    dataset: Dataset

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML's `attributes`."""
        return Dataset

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> PublishedDataset:
        """Make the component out of validated attributes. Raises DefinitionError when there are none."""
        if not isinstance(attributes, Dataset):
            raise DefinitionError(f"{context.path} has no attributes", "Write them as docs/datasets.md shows")
        return cls(attributes.model_copy(update={"folder": context.path}))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the chain of assets and the job that publishes vintages of the dataset."""
        assets = dataset_assets(self.dataset)
        job = dg.define_asset_job(
            f"publish_{self.dataset.id}",
            selection=dg.AssetSelection.groups(self.dataset.id),
            description=f"Takes a vintage of '{self.dataset.title.en}' all the way from its source to /processed/.",
        )
        return dg.Definitions(assets=assets, jobs=[job])
