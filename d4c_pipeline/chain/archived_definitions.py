"""The definition of a dataset out of the code in an archived release, for a recovery without the dataset's YAML.

Reading definitions belongs to `workspace.datasets`, packing them to `workspace.code_archive`.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.chain.adoption import ArchivedRelease
from d4c_pipeline.files.unpack import unpack
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.workspace.code_archive import CODE_NAME, definition_folder
from d4c_pipeline.workspace.datasets import read_definitions


def archived_definition(found: ArchivedRelease) -> Dataset:
    """Return the dataset of a checked release as it was declared then, without a folder.

    Raises UnknownNameError when the record does not have the definition, DefinitionError when this version of the code
    cannot read it, DataError for a damaged zip.
    """
    name, dataset = found.manifest.release, found.dataset
    missing = UnknownNameError(
        f"The record {found.record.doi} has no definition of {dataset}, and none is declared",
        f"Declare {dataset} (D4C_DEFS or --defs), then run again",
    )
    if CODE_NAME not in found.files:
        raise missing
    with TemporaryDirectory(prefix="d4c-") as folder:
        unpack(found.path(CODE_NAME), Path(folder))
        file = definition_folder(Path(folder), dataset) / "defs.yaml"
        if not file.is_file():
            raise missing
        for declared in read_definitions(file):
            if declared.id == dataset:
                return declared.model_copy(update={"folder": None})
    raise UnknownNameError(
        f"The definition in {name} does not declare {dataset}",
        f"Declare {dataset}, or the family that it is a member of (D4C_DEFS or --defs), then run again",
    )
