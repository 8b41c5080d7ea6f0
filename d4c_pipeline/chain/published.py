"""Published releases with the facts of the ledger and the stores, in the form that records and documents need.

The mapping itself belongs to `metadata.mapping`; this module only collects its arguments. The texts of a release are
those of its deposited item, as in the STAC catalogue; the other facts of its dataset are the present ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_item import recorded_place
from d4c_pipeline.chain.catalogued_facts import AT_ONCE, FactsReader
from d4c_pipeline.chain.elsewhere import relations
from d4c_pipeline.chain.versions import earlier_vintages, versions
from d4c_pipeline.ledger.announcements import Announced
from d4c_pipeline.ledger.catalogue import Facts, Identifiers, Listed
from d4c_pipeline.metadata.mapping import published_metadata
from d4c_pipeline.metadata.published import (
    ListedRelease,
    Place,
    PublishedMetadata,
    PublishedTorrent,
    VersionLine,
    VersionLink,
    boxes_of,
)
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import BilingualKeywords, Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import Deposit, DepositState
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


def all_published(deployment: Deployment, known: Mapping[str, Dataset]) -> Iterator[PublishedMetadata]:
    """Yield every published release, by dataset, vintage and version. `known`: the declarations of all datasets.

    Raises what `dataset_published` raises.
    """
    reader = FactsReader(deployment, known)
    for listed in reader.ahead(deployment.ledger.catalogue.listed()):
        yield from dataset_published(deployment, reader, listed)


def dataset_published(
    deployment: Deployment, reader: FactsReader, listed: Sequence[Listed], wanted: Collection[int] | None = None
) -> Iterator[PublishedMetadata]:
    """Yield the releases `wanted` (by default all) of a dataset, by vintage and version. `listed`: all of them.

    Raises PermanentError for facts that don't fit a record, IntegrityError for a dataset without a declaration,
    UnknownNameError for a release without a DOI.
    """
    making = Making(deployment, declared(reader, listed[0].dataset), listed)
    ordered = sorted(listed, key=lambda entry: (entry.vintage, entry.version))
    pairs = [(making, entry) for entry in ordered if wanted is None or entry.id in wanted]
    yield from published_of(deployment, reader, pairs)


def published_of(
    deployment: Deployment, reader: FactsReader, releases: Sequence[tuple[Making, Listed]]
) -> Iterator[PublishedMetadata]:
    """Yield the metadata of releases of several datasets, in the given order. Raises as `dataset_published`."""
    for start in range(0, len(releases), AT_ONCE):
        some = releases[start : start + AT_ONCE]
        facts = reader.of([entry for _, entry in some])
        named = {number for making, entry in some for number in making.named(entry)}
        identifiers = deployment.ledger.catalogue.identifiers(named)
        for making, entry in some:
            yield making.of(entry, facts[entry.id], identifiers)


def declared(reader: FactsReader, dataset: str) -> Dataset:
    """Return the declaration of a dataset. Raises IntegrityError when the ledger has none."""
    found = reader.dataset(dataset)
    if found is None:
        raise IntegrityError(f"The ledger has no declaration of {dataset}", rerun="checksums")
    return found


def deposited(facts: Facts) -> Deposit:
    """Return the deposit of a release. Raises UnknownNameError when no DOI was reserved."""
    deposit = facts.deposit
    # A published deposit without a record: its test archive was reset (`d4c archive forget`). It keeps its DOI.
    begun = deposit is not None and (deposit.record_id is not None or deposit.state is DepositState.PUBLISHED)
    if deposit is None or deposit.doi is None or not begun:
        raise UnknownNameError(f"No DOI is reserved for {facts.release.name}", rerun="doi")
    return deposit


class Making:
    """Makes the metadata of the releases of a dataset. `listed`: all its published releases."""

    def __init__(self, deployment: Deployment, dataset: Dataset, listed: Sequence[Listed]) -> None:
        self._deployment, self._dataset, self._site = deployment, dataset, site_of(deployment)
        self.lines = versions(dataset, listed)
        self._earlier = earlier_vintages(listed)

    def named(self, entry: Listed) -> Iterator[int]:
        """Yield the ids of the releases whose DOIs the metadata of a release names."""
        line = self.lines[entry.id]
        others = (line.newest, line.predecessor, line.successor, self._earlier.get(entry.id))
        for other in filter(None, map(_listed, others)):
            yield other.id

    def of(self, entry: Listed, facts: Facts, identifiers: Mapping[int, Identifiers]) -> PublishedMetadata:
        """Return the metadata of a release. `identifiers`: those of the releases `named`, by id.

        Raises PermanentError for facts that don't fit a record, UnknownNameError for a release without a DOI.
        """
        line, release, deposit = self.lines[entry.id], facts.release, deposited(facts)
        primary, *mirrors = self._deployment.stores

        def held(name: str) -> list[Any]:
            return [store for store in mirrors if (name, store.name) in facts.copies]

        return published_metadata(
            _as_deposited(self._dataset, entry, facts.item),
            release,
            deposit,
            self._site,
            line=VersionLine(
                newest=_link(_listed(line.newest) or entry, identifiers),
                previous=_linked(line.predecessor, identifiers),
                superseded_by=_linked(line.successor, identifiers),
            ),
            torrents=facts.torrents,
            mirrors={
                artifact.name: [
                    store.url(release_address(release.dataset, release.vintage, release.version, artifact.name))
                    for store in held(artifact.name)
                ]
                for artifact in release.artifacts
            },
            place=_place(facts),
            previous_vintage_doi=self._previous_vintage_doi(entry, deposit, identifiers),
            elsewhere=relations(
                self._deployment, self._dataset, release, lambda name: [primary, *held(name)], facts.torrents
            ),
        )

    def _previous_vintage_doi(
        self, entry: Listed, deposit: Deposit, identifiers: Mapping[int, Identifiers]
    ) -> str | None:
        """Return the all-versions DOI of the previous vintage, as in the archive's record."""
        earlier = self._earlier.get(entry.id)
        known = None if earlier is None else identifiers.get(earlier.id)
        if known is None or known.test != deposit.test:
            return None
        return known.concept_doi or known.doi


def announced(found: Announced, line: Line | None = None) -> ListedRelease:
    """Return a release as a feed shows it. `line`: its place among the versions, which a feed does not need."""
    listed, identifiers = found.listed, found.identifiers
    if identifiers.doi is None:
        raise UnknownNameError(f"No DOI is reserved for {listed.name}", rerun="doi")
    english, french = (_plain_title(title, listed) for title in found.titles)
    return ListedRelease(
        dataset=listed.dataset,
        vintage=listed.vintage,
        version=listed.version,
        name=listed.name,
        title=Bilingual.model_construct(en=english or listed.dataset, fr=french or english or listed.dataset),
        doi=identifiers.doi,
        test_doi=identifiers.test,
        concept_doi=identifiers.concept_doi,
        published_at=listed.published_at,
        rows=found.rows,
        bytes=sum(found.data.values()),
        latest=line is not None and line.latest,
        change=found.change,
        counts=found.counts,
        withdrawn=listed.withdrawn,
        archive=found.archive,
        archive_url=found.archive_url,
        torrents=tuple(
            PublishedTorrent(
                file=name,
                address=torrent.address,
                size=size,
                data_size=found.data[name],
                info_hash=torrent.info_hash,
                info_hash_v2=torrent.info_hash_v2,
                magnet=torrent.magnet,
            )
            for name, (torrent, size) in found.torrents.items()
            if name in found.data
        ),
    )


def _linked(other: object, identifiers: Mapping[int, Identifiers]) -> VersionLink | None:
    found = _listed(other)
    return None if found is None else _link(found, identifiers)


def _link(other: Listed, identifiers: Mapping[int, Identifiers]) -> VersionLink:
    known = identifiers.get(other.id)
    return VersionLink(
        dataset=other.dataset,
        vintage=other.vintage,
        version=other.version,
        name=other.name,
        doi=None if known is None or known.test else known.doi,
    )


def _listed(other: object) -> Listed | None:
    return other if isinstance(other, Listed) else None


def _plain_title(title: str | None, listed: Listed) -> str | None:
    return title and title.removesuffix(f", {listed.vintage}, v{listed.version}")


def _as_deposited(dataset: Dataset, entry: Listed, item: Mapping[str, Any] | None) -> Dataset:
    """Return the dataset with the title, description and keywords of the deposited item, source's words included."""
    properties: Mapping[str, Any] = {} if item is None else item["properties"]

    def text(name: str, present: Bilingual) -> Bilingual:
        english, french = properties.get(name), properties.get(f"d4c:{name}_fr")
        if name == "title":
            english, french = (_plain_title(title, entry) for title in (english, french))
        # Not validated again: a text of an earlier form may have characters that are refused today.
        return Bilingual.model_construct(en=english or present.en, fr=french or present.fr)

    keywords = BilingualKeywords.model_construct(
        en=tuple(properties.get("keywords") or ()), fr=tuple(properties.get("d4c:keywords_fr") or ())
    )
    return dataset.model_copy(
        update={
            "title": text("title", dataset.title),
            "description": text("description", dataset.description),
            **({} if item is None else {"keywords": keywords}),
        }
    )


def _place(facts: Facts) -> Place | None:
    if facts.item is None:
        return None
    place = recorded_place(facts.item, facts.release)
    west, south, east, north = (float(side) for side in place.box)
    return Place(origin=place.origin, boxes=boxes_of((west, south, east, north)))
