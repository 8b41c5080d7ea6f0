"""Our words in the words of other metadata standards: here, DataCite's recommended citation.

Here belong pure mappings of a dataset and its release; the record that an archive wants is made by `archives`.
Source of the form: https://support.datacite.org/docs/data-citation
"""

from __future__ import annotations

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.release import Deposit, Release

PUBLISHER = "Data for Canada"


def citation(dataset: Dataset, release: Release, deposit: Deposit, *, publisher: str = PUBLISHER) -> str:
    """Return `Creators (year). Title, vintage (Version v) [Data set]. Publisher. https://doi.org/...` in English.

    The year is that in which the release was planned (UTC): it is known before publication and never changes after, so
    the citation in the item is the same whenever the item is built. A test DOI is not written as a link and says so,
    since it never resolves. Raises PermanentError when the deposit has no DOI yet.
    """
    doi = required_doi(release, deposit)
    creators = "; ".join(party.name for party in dataset.creators)
    title = f"{dataset.title.en}, {release.vintage} (Version {release.version}) [Data set]"
    link = f"doi:{doi} (a test DOI, it does not resolve)" if deposit.test else f"https://doi.org/{doi}"
    return f"{creators} ({release.planned_at.year}). {title}. {publisher}. {link}"


def required_doi(release: Release, deposit: Deposit) -> str:
    """Return the deposit's DOI, reserved or registered.

    Raises PermanentError when there is none yet.
    """
    if deposit.doi is None:
        raise PermanentError(f"Release {release.name} has no DOI yet", "Reserve one first: run the asset doi")
    return deposit.doi
