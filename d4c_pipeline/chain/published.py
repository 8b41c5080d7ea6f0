"""Published releases with the facts of the ledger and the stores, in the form that records and documents need.

The mapping itself belongs to `metadata.published`; this module only collects its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.chain.elsewhere import elsewhere
from d4c_pipeline.chain.latest import rank
from d4c_pipeline.metadata.published import Place, PublishedMetadata, VersionLine, VersionLink, published_metadata
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import with_source_words
from d4c_pipeline.model.release import Deposit, PublishedRelease, Release
from d4c_pipeline.workspace.current import deposit_of
from d4c_pipeline.workspace.deployment import Deployment


def site_of(deployment: Deployment) -> Site:
    """Return the site that the deployment publishes."""
    settings = deployment.settings
    return Site(
        publisher=settings.publisher,
        base_url=settings.store_url,
        contact=settings.contact,
        code_url=settings.code_url,
        page_url=settings.page_url,
    )


def all_published(
    deployment: Deployment,
    known: Mapping[str, Dataset],
    place_of: Callable[[Dataset, PublishedRelease], Place | None] | None = None,
) -> Iterator[PublishedMetadata]:
    """Yield every published release, by dataset, vintage and version. `known`: the declarations of all datasets."""
    releases = deployment.ledger.releases.published()
    for dataset, group in groupby(releases, key=lambda release: release.dataset):
        yield from dataset_published(deployment, known[dataset], tuple(group), place_of)


def dataset_published(
    deployment: Deployment,
    dataset: Dataset,
    releases: Sequence[PublishedRelease],
    place_of: Callable[[Dataset, PublishedRelease], Place | None] | None = None,
) -> Iterator[PublishedMetadata]:
    """Yield the published releases of a dataset. `releases`: all of them; `place_of`: as the catalogue finds places.

    Raises PermanentError for a release whose facts don't fit a record.
    """
    site = site_of(deployment)
    deposits = {release.id: deposit_of(deployment, release) for release in releases}
    for release in releases:
        if dataset.series == "rolling":
            versions = [*releases]
        else:
            versions = [other for other in releases if other.vintage == release.vintage]
        versions.sort(key=partial(rank, dataset))
        index = versions.index(release)
        neighbours = [_link(other, deposits[other.id]) for other in versions]
        yield published_metadata(
            with_source_words(dataset, deployment.ledger.natives.description(dataset.id, release.vintage)),
            release,
            deposits[release.id],
            site,
            line=VersionLine(
                newest=neighbours[-1],
                previous=neighbours[index - 1] if index else None,
                superseded_by=neighbours[index + 1] if index + 1 < len(versions) else None,
            ),
            torrents=deployment.ledger.publications.torrents(release),
            mirrors=_mirrors(deployment, release),
            place=place_of(dataset, release) if place_of else None,
            previous_vintage_doi=_previous_vintage_doi(release, releases, deposits),
            elsewhere=elsewhere(deployment, dataset, release),
        )


def _link(release: Release, deposit: Deposit) -> VersionLink:
    return VersionLink(
        dataset=release.dataset,
        vintage=release.vintage,
        version=release.version,
        name=release.name,
        doi=None if deposit.test else deposit.doi,
    )


def _mirrors(deployment: Deployment, release: Release) -> dict[str, list[str]]:
    """The URLs of a release's files in mirrors, by file name."""
    return {
        name: [
            store.url(release_address(release.dataset, release.vintage, release.version, name))
            for store in stores
            if store is not deployment.primary
        ]
        for name, stores in stores_holding(deployment, release).items()
    }


def _previous_vintage_doi(
    release: Release, releases: Sequence[PublishedRelease], deposits: Mapping[int, Deposit]
) -> str | None:
    """The all-versions DOI of the previous vintage, as in the archive's record."""
    earlier = [other for other in releases if other.vintage < release.vintage]
    if not earlier:
        return None
    deposit = deposits[earlier[-1].id]
    return None if deposit.test != deposits[release.id].test else deposit.concept_doi or deposit.doi
