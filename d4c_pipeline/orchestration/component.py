"""The components of every `defs.yaml`: a dataset or a family becomes a chain of assets with sensors.

`model.dataset.Dataset` and `model.family.Family` define the YAML, `jobs.py` the job of each. Concept: https://docs.dagster.io/guides/build/components
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster.components.scaffold.scaffold import ScaffoldRequest, scaffold_with
from pydantic import BaseModel

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.assets import chain_assets
from d4c_pipeline.orchestration.products import Product, of_dataset, of_family
from d4c_pipeline.orchestration.sensors.noticing import sensors_of, source_asset

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

_FAMILY_SCAFFOLD: dict[str, Any] = {
    "title": {"en": "Title", "fr": "Titre"},
    "description": {"en": "What they hold.", "fr": "Ce qu'ils contiennent."},
    "members": {"kind": "statcan_tables", "include": ["10100001"]},
    "dataset": {
        "name": {**_SCAFFOLD["name"], "theme": "table_{member}"},
        "title": {"en": "{title_en}", "fr": "{title_fr}"},
        "description": {"en": "Table {member}.", "fr": "Tableau {member}."},
        "license": "statcan-open-licence",
        "creators": _SCAFFOLD["creators"],
        "series": "rolling",
        "source": {"kind": "statcan_table", "table": "{member}"},
        "processing": {"kind": "table", "key": ["ref_date", "coordinate"], "wds": {}},
    },
}


class PublishedDatasetScaffolder(dg.Scaffolder):
    """Writes a valid `defs.yaml` to fill in."""

    def scaffold(self, request: ScaffoldRequest) -> None:
        """Write the file into the new folder, whose name becomes the dataset's id."""
        dg.scaffold_component(request, {"id": request.target_path.name, **_SCAFFOLD})


@scaffold_with(PublishedDatasetScaffolder)
@dataclass
class PublishedDataset(dg.Component):
    """A dataset: fetched, processed, versioned, distributed, deposited and catalogued."""

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
        """Return the chain of assets and the sensors of its source."""
        return _definitions(of_dataset(self.dataset))


class PublishedFamilyScaffolder(dg.Scaffolder):
    """Writes a valid `defs.yaml` of a family to fill in."""

    def scaffold(self, request: ScaffoldRequest) -> None:
        """Write the file into the new folder, whose name becomes the family's id."""
        dg.scaffold_component(request, {"id": request.target_path.name, **_FAMILY_SCAFFOLD})


@scaffold_with(PublishedFamilyScaffolder)
@dataclass
class PublishedFamily(dg.Component):
    """Many datasets of one shape: one chain of assets with a partition per member."""

    family: Family

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML's `attributes`."""
        return Family

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> PublishedFamily:
        """Make the component out of validated attributes. Raises DefinitionError when there are none."""
        if not isinstance(attributes, Family):
            raise DefinitionError(f"{context.path} has no attributes", "Write them as docs/datasets.md shows")
        return cls(attributes.model_copy(update={"folder": context.path}))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the chain of assets and the two sensors for all members."""
        return _definitions(of_family(self.family))


def _definitions(product: Product) -> dg.Definitions:
    return dg.Definitions(assets=product_assets(product), sensors=sensors_of(product))


def product_assets(product: Product) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """Return the observed source and the chain of a product."""
    return [source_asset(product), *chain_assets(product)]
