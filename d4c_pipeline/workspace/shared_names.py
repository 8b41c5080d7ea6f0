"""Detects datasets with naming parts that result in the same names, which would write to the same addresses.

Definitions are compared by their declarations; a step compares with the published releases in the ledger: the dataset
that published first continues, the other stops. Other datasets are not affected.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError, PermanentError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.naming import latest_stem
from d4c_pipeline.model.vintage import VINTAGE_PATTERN, Vintage
from d4c_pipeline.workspace.datasets import load_definitions
from d4c_pipeline.workspace.deployment import Deployment

_VINTAGE = re.compile(rf"(?:{VINTAGE_PATTERN})", re.ASCII)
_ANY = "9999"  # represents every vintage of a discovered dataset


@dataclass(frozen=True)
class SharedName:
    """A name that several datasets would publish under: their ids, sorted."""

    stem: str
    datasets: tuple[str, ...]

    def error(self, definitions: Mapping[str, Dataset | Family]) -> DefinitionError:
        """Return the error that names the datasets and the remedy."""
        where = "; ".join(f"{each} in {definitions[each].folder}" for each in self.datasets if each in definitions)
        return DefinitionError(
            f"Several datasets have the naming parts of {self.stem}, so each would replace the files of the others:"
            f" {where}",
            "Change 'name' of the copied one (its 'theme', or add a 'variant'); 'd4c datasets' checks it again",
        )


def shared_names(definitions: Iterable[Dataset | Family]) -> tuple[SharedName, ...]:
    """Return the names that more than one definition would publish under, by name; a family represents its members."""
    datasets = [
        each.sample.model_copy(update={"id": each.id}) if isinstance(each, Family) else each for each in definitions
    ]
    # A theme or variant that reads like a vintage gives one dataset the name of another dataset's vintage.
    vintages = {_ANY}
    for dataset in datasets:
        vintages |= set(_declared(dataset)) | {
            token for token in re.split(r"[_]", latest_stem(dataset.name.as_dataset_name(), None)) if _reads(token)
        }
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for dataset in datasets:
        name = dataset.name.as_dataset_name()
        owners[latest_stem(name, None) if dataset.series == "rolling" else latest_stem(name, Vintage.parse(_ANY))].add(
            dataset.id
        )
        for vintage in _declared(dataset) or sorted(vintages):
            owners[latest_stem(name, Vintage.parse(vintage))].add(dataset.id)
    found = {tuple(sorted(ids)): stem.replace(f"_{_ANY}", "") for stem, ids in sorted(owners.items()) if len(ids) > 1}
    return tuple(SharedName(stem, ids) for ids, stem in sorted(found.items(), key=lambda each: each[1]))


def refuse_shared_names(definitions: Iterable[Dataset | Family]) -> None:
    """Raise DefinitionError that names every group of definitions with the same names.

    Runs when definitions are loaded, before any step.
    """
    known = {each.id: each for each in definitions}
    errors = [shared.error(known) for shared in shared_names(known.values())]
    if errors:
        raise DefinitionError(". ".join(error.cause for error in errors), errors[0].remedy)


def refuse_shared_name(deployment: Deployment, dataset: Dataset) -> None:
    """Raise DefinitionError when another definition has the name of `dataset` and this one has not published under it.

    A dataset outside the settings' folders (a member of a family) is compared with the ledger only.
    """
    if deployment.ledger.releases.published(dataset.id):
        return
    definitions = load_definitions(deployment.settings.definitions)
    for shared in shared_names(definitions.values()):
        if dataset.id in shared.datasets and definitions[dataset.id] == dataset:
            raise shared.error(definitions)


def refuse_taken_name(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> None:
    """Raise DefinitionError when releases of another dataset in the ledger have the names of this vintage."""
    name = dataset.name.as_dataset_name()
    stem = latest_stem(name, None if dataset.series == "rolling" else vintage)
    publications, releases = deployment.ledger.publications, deployment.ledger.releases
    others = {release.dataset for release in releases.named(latest_stem(name, vintage))}
    for end in (".", "/"):
        others |= publications.latest_owners(f"processed/{stem}{end}")
    if others := others - {dataset.id}:
        raise DefinitionError(
            f"The name {stem} belongs to releases of the dataset {', '.join(sorted(others))}, so {dataset.id} can't "
            "publish under it",
            f"Change 'name' in the definition of {dataset.id} (its 'theme', or add a 'variant'); if it is the same "
            "data under a new id, give it the old id again",
        )


def _declared(dataset: Dataset) -> tuple[str, ...]:
    return () if dataset.vintages == "discovered" else dataset.vintages


def _reads(token: str) -> bool:
    if not _VINTAGE.fullmatch(token):
        return False
    try:
        Vintage.parse(token)
    except PermanentError:
        return False
    return True
