"""DataCite's recommended citation of a release.

Pure mappings of a dataset and its release belong here; `archives` makes the record of an archive.
Source of the form: https://support.datacite.org/docs/data-citation
"""

from __future__ import annotations

from typing import Literal

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.release import Deposit, Release
from d4c_pipeline.model.settings import PUBLISHER


def citation(
    dataset: Dataset,
    release: Release,
    deposit: Deposit,
    *,
    publisher: str = PUBLISHER,
    language: Literal["en", "fr"] = "en",
) -> str:
    """Return `Creators (year). Title, vintage (Version v) [Data set]. Publisher. https://doi.org/...` in `language`.

    The year is the year of the plan (UTC): it is known before publication and never changes, so the citation in the
    item is the same in every build of the item. A test DOI is not a link and is marked as a test, because it never
    resolves. Raises PermanentError when the deposit has no DOI yet.
    """
    doi = required_doi(release, deposit)
    creators = "; ".join(party.name for party in dataset.creators)
    if language == "fr":
        title, kind, test = dataset.title.fr, "Jeu de données", "un DOI d'essai, qui ne mène nulle part"
    else:
        title, kind, test = dataset.title.en, "Data set", "a test DOI, it does not resolve"
    named = f"{title}, {release.vintage} (Version {release.version}) [{kind}]"
    link = f"doi:{doi} ({test})" if deposit.test else f"https://doi.org/{doi}"
    return f"{creators} ({release.planned_at.year}). {named}. {publisher}. {link}"


def required_doi(release: Release, deposit: Deposit) -> str:
    """Return the deposit's DOI, reserved or registered.

    Raises PermanentError when the deposit has no DOI yet.
    """
    if deposit.doi is None:
        raise PermanentError(f"Release {release.name} has no DOI yet", "Reserve one first: run the asset doi")
    return deposit.doi
