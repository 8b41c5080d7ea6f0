"""The release that a person chooses in the configuration of a job: by its name, or from lists that the UI completes.

Links of the UI fill in the name. In the launchpad a person picks a dataset or family; vintage and version are needed
only where several of its releases may be meant. What is decided belongs to `reviewing` and `withdrawing`.
"""

import hashlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field, create_model

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.release import PlannedRelease, PublishedRelease

_MOST_LISTED = 20
R = TypeVar("R", PlannedRelease, PublishedRelease)


class ReleaseConfig(dg.Config):
    """The release that a job is about; a job adds `dataset`."""

    release: str = Field(default="", description="Name of the release, which links fill in; or pick its dataset.")
    vintage: str = Field(default="", description="Vintage, where several releases of the dataset may be meant.")
    version: str = Field(default="", description="Version, where several releases of the vintage may be meant.")


def declared_ids(kind: str, declared: Sequence[Dataset | Family]) -> Any:
    """Return the enumeration of the declared ids, which the UI completes.

    Dagster keeps one enumeration per name in a process, whatever its values are: the name has a digest of them.
    """
    names = sorted(each.id for each in declared)
    digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
    return Enum(f"{kind}_{digest}", {name: name for name in names})


def with_dataset(base: type[ReleaseConfig], declared: Sequence[Dataset | Family]) -> Any:
    """Return the configuration `base` with the optional field `dataset`, a list of the declared ids."""
    if not declared:
        return base
    ids = declared_ids("Product", declared)
    field: Any = (ids | None, Field(default=None, description="Id of a dataset or family: Ctrl+Space lists them."))
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, dataset=field)


def picked(config: Any, releases: Sequence[R], families: Sequence[Family], *, what: str) -> R:
    """Return the one of `releases` that dataset, vintage and version of the configuration name.

    `what` is true of them, for errors: `awaits review`. Raises UnknownNameError if none is named so, PermanentError if
    several are; both list them.
    """
    dataset = getattr(config, "dataset", None)
    if dataset is None:
        raise PermanentError(
            f"Neither a release nor a dataset is named. What {what}: {_listed(releases)}",
            "Pick `dataset`, or name `release`",
        )
    members = next((family for family in families if family.id == dataset.value), None)
    found = [
        each
        for each in releases
        if (each.dataset == dataset.value or (members is not None and members.key_of(each.dataset) is not None))
        and config.vintage in ("", str(each.vintage))
        and config.version in ("", str(each.version))
    ]
    if not found:
        raise UnknownNameError(
            f"No release of {' '.join(filter(None, (dataset.value, config.vintage, config.version)))} {what}",
            f"What {what}: {_listed(releases)}",
        )
    if len(found) > 1:
        raise PermanentError(
            f"{len(found)} releases of {dataset.value} are meant: {_listed(found)}",
            "Add `vintage` and `version`, or name `release`",
        )
    return found[0]


def _listed(releases: Sequence[R]) -> str:
    names = [f"{each.name} ({each.vintage} {each.version})" for each in releases]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) or "none") + more
