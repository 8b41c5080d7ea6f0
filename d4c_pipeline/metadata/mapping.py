"""The mapping of a published release: declaration, ledger and final addresses become the facts of records and feeds.

The facts' types are `metadata.published`. No input is read and no file is written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from d4c_pipeline.metadata.citation import citation, required_doi
from d4c_pipeline.metadata.published import (
    TONGUES,
    Place,
    PublishedFile,
    PublishedMetadata,
    PublishedTorrent,
    VersionLine,
    VersionLink,
    boxes_of,
)
from d4c_pipeline.metadata.record import RelatedIdentifier, record_metadata
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import (
    release_address,
)
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.release import (
    CHANGES,
    ArtifactRole,
    Deposit,
    PublishedRelease,
    Release,
    Torrent,
    Withdrawal,
)
from d4c_pipeline.model.secrets import public_address


def published_metadata(
    dataset: Dataset,
    release: PublishedRelease,
    deposit: Deposit,
    site: Site,
    *,
    line: VersionLine | None = None,
    torrents: Mapping[str, Torrent] | None = None,
    mirrors: Mapping[str, Sequence[str]] | None = None,
    place: Place | None = None,
    previous_vintage_doi: str | None = None,
    elsewhere: Sequence[RelatedIdentifier] = (),
) -> PublishedMetadata:
    """Return the metadata of a published release; equal arguments give equal metadata.

    `dataset`: with the words of its source (`model.described`). `line`: by default the release is the only one.
    `torrents`: data file -> its torrent. `mirrors`: file -> its URLs in mirrors that hold it. `place`: by default the
    data's bounds, else the declared extent. `previous_vintage_doi`, `elsewhere`: as for `record_metadata`. Raises
    PermanentError for a release without a DOI and for facts that can't stand in a record.
    """
    doi = required_doi(release, deposit)
    if release.withdrawn is not None:
        dataset = _noted(dataset, release.withdrawn)
    own = VersionLink(
        dataset=release.dataset,
        vintage=release.vintage,
        version=release.version,
        name=release.name,
        doi=None if deposit.test else doi,
    )
    line = line or VersionLine(newest=own)
    native = dataset.source.derived_from(release.vintage)
    files = _files(release, deposit, torrents or {}, mirrors or {})
    record = record_metadata(
        dataset,
        release,
        native,
        publisher=site.publisher,
        code_url=site.code_url,
        previous_vintage_doi=previous_vintage_doi,
        page_url=site.page(release.dataset, release.vintage, release.version),
        published_on=release.published_at.date(),
        elsewhere=elsewhere,
    )
    cited = {
        language: citation(dataset, release, deposit, publisher=site.publisher, language=language)
        for language in TONGUES
    }
    return PublishedMetadata(
        dataset=release.dataset,
        vintage=release.vintage,
        version=release.version,
        name=release.name,
        title=dataset.title,
        doi=doi,
        test_doi=deposit.test,
        concept_doi=deposit.concept_doi,
        published_at=release.published_at,
        rows=release.summary.rows,
        bytes=release.data_size,
        latest=line.newest is not None and line.newest.name == release.name and release.withdrawn is None,
        withdrawn=release.withdrawn,
        change=release.change,
        counts=_counts(release),
        archive=deposit.archive,
        archive_url=deposit.url,
        torrents=tuple(file.torrent for file in files if file.torrent is not None),
        site=site,
        record=record,
        identifier=release.identifier,
        series=dataset.series,
        dguid=dataset.name.dguid,
        description=dataset.description,
        citation=Bilingual(**cited),
        licence=dataset.terms,
        creators=dataset.creators,
        line=line,
        planned_at=release.planned_at.replace(microsecond=0),  # records state seconds, and archives keep no more
        key=release.summary.key,
        columns=release.summary.columns,
        files=files,
        attribution=dataset.attribution,
        keywords=dataset.keywords,
        providers=dataset.providers,
        contributors=dataset.contributors,
        contacts=dataset.contacts,
        funding=dataset.funding,
        languages=dataset.languages,
        licence_file=kept.name if (kept := release.artifact(ArtifactRole.LICENCE)) else None,
        crs=release.summary.crs,
        geometry_types=release.summary.geometry_types,
        partition=release.summary.partition,
        place=place or _place(dataset, release),
        sources=tuple(dict.fromkeys(map(public_address, native))),
        homepage=dataset.source.homepage,
        frequency=dataset.publication.frequency,
    )


def _counts(release: PublishedRelease) -> Mapping[str, Any] | None:
    """Return the counts of changed rows in one order: a ledger recovered from manifests has another than the build."""
    found = release.summary.report.get(CHANGES)
    return None if found is None else json.loads(json.dumps(found, sort_keys=True))


def _noted(dataset: Dataset, withdrawn: Withdrawal) -> Dataset:
    """Return the dataset with a description that begins with the withdrawal, as every record states it."""
    text = dataset.description
    noted = Bilingual.model_construct(en=withdrawn.noted(text.en, "en"), fr=withdrawn.noted(text.fr, "fr"))
    return dataset.model_copy(update={"description": noted})


def _files(
    release: Release, deposit: Deposit, torrents: Mapping[str, Torrent], mirrors: Mapping[str, Sequence[str]]
) -> tuple[PublishedFile, ...]:
    artifacts = {artifact.name: artifact for artifact in release.artifacts}
    parts = {part.name: part for part in release.summary.parts}
    files: list[PublishedFile] = []
    for name, artifact in sorted(artifacts.items()):
        is_data = artifact.role is ArtifactRole.DATA
        part = parts.get(release.part(artifact)) if is_data else None
        torrent = torrents.get(name) if is_data else None
        written = artifacts.get(f"{name}.torrent")
        files.append(
            PublishedFile(
                name=name,
                role=artifact.role,
                media_type=artifact.media_type,
                size=artifact.size,
                md5=artifact.md5,
                sha256=artifact.sha256,
                address=release_address(release.dataset, release.vintage, release.version, name),
                mirrors=tuple(mirrors.get(name, ())),
                archive=deposit.files.get(name),
                part=part.name if part else "",
                rows=part.rows if part else release.summary.rows if is_data else None,
                bounds=part.bounds if part else release.summary.bounds if is_data else None,
                torrent=torrent
                and PublishedTorrent(
                    file=name,
                    address=torrent.address,
                    size=written.size if written else None,
                    data_size=artifact.size,
                    info_hash=torrent.info_hash,
                    info_hash_v2=torrent.info_hash_v2,
                    magnet=torrent.magnet,
                ),
            )
        )
    return tuple(files)


def _place(dataset: Dataset, release: Release) -> Place | None:
    if release.summary.bounds is not None:
        return Place(origin="data", boxes=boxes_of(release.summary.bounds))
    if dataset.extent is not None:
        return Place(origin="declared", boxes=boxes_of(dataset.extent.bounds))
    return None
