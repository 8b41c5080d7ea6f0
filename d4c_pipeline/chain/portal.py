"""`portal`: builds the pages of all published releases in the home's folder `portal`, only where facts changed.

Here belongs the collection of facts from ledger, stores and data. What a page shows belongs to `portal.views`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from d4c_pipeline.chain.catalogue import latest_declarations
from d4c_pipeline.chain.catalogue_memory import LeftOut
from d4c_pipeline.chain.catalogued_facts import FactsReader
from d4c_pipeline.chain.latest import latest_address_of
from d4c_pipeline.chain.portal_result import PortalBuilt
from d4c_pipeline.chain.published import dataset_published
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.events import now
from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.metadata.published import ListedRelease, PublishedMetadata
from d4c_pipeline.metadata.site import Site as PublishedSite
from d4c_pipeline.model.addresses import CATALOGUE_ROOT, latest_part_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.model.frequency import expected, freshness
from d4c_pipeline.model.release import ArtifactRole, PublishedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.addresses import PICTURES
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import ColumnFacts, CopyFacts, DatasetFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.pictures import card_picture
from d4c_pipeline.portal.related import related_datasets
from d4c_pipeline.portal.site import Built, Site
from d4c_pipeline.portal.state import State
from d4c_pipeline.portal.statistics import column_facts
from d4c_pipeline.workspace.deployment import Deployment, portal_folder
from d4c_pipeline.workspace.plans import manifest_of
from d4c_pipeline.workspace.progress import Progress, report
from d4c_pipeline.workspace.staging import artifact_path, read_artifact

_WAIT_SECONDS = 3600.0


def build(
    deployment: Deployment, declared: Sequence[Dataset] = (), folder: Path | None = None, bundle: Bundle | None = None
) -> PortalBuilt:
    """Bring the portal up to date in `folder`, by default the home's folder `portal`.

    Processes build one after another. A dataset whose facts can't be shown keeps its old pages. Raises StorageError
    when the disk is full or refuses.
    """
    report(Progress("all datasets", "", "portal"))
    folder = folder or portal_folder(deployment.settings.home)
    site, bundle = site_facts(deployment), bundle or Bundle.read()
    with deployment.ledger.leases.hold(lease_keys.PORTAL, wait=_WAIT_SECONDS) as lease, State(folder) as state:
        known = latest_declarations(deployment, declared)
        about = _About(deployment, state, known)
        marks = about.marks()
        target = Site(folder, state, site, bundle)
        collector = _Collector(deployment, state, folder, site, known)
        left_out: list[LeftOut] = []
        for name in target.changed(marks):
            lease.renew()
            try:
                releases = collector.dataset(name, known.get(name))
                vintage = releases[0].published.vintage
                target.dataset(about.mark(name, vintage), releases, about.facts(name, vintage))
            except (PermanentError, IntegrityError) as error:
                # One faulty dataset must not keep the others from their pages.
                left_out.append(LeftOut(name, error.cause, error.remedy))
        done: Built = target.finish(marks)
    return PortalBuilt(
        folder, site.url, done.pages, done.written, done.removed, len(marks), bundle.is_built, tuple(left_out)
    )


def site_facts(deployment: Deployment) -> SiteFacts:
    """Return the facts of the deployment that pages show."""
    settings = deployment.settings
    stores = tuple(store.url(CATALOGUE_ROOT).removesuffix(f"/{CATALOGUE_ROOT}") for store in deployment.stores)
    url = (settings.portal_url or stores[0]).rstrip("/") + "/"
    return SiteFacts(
        publisher=settings.publisher,
        publisher_fr=settings.publisher_fr,
        url=url,
        store_urls=stores,
        contact=settings.contact,
        problems=settings.problems,
    )


class _About:
    """The facts of datasets beside their releases, and the marks of all facts. The day decides on the freshness."""

    def __init__(self, deployment: Deployment, state: State, known: Mapping[str, Dataset]) -> None:
        self._marks = deployment.ledger.page_marks.all()
        self._known, self._vintages, self._today = known, state.vintages(), now().date()
        self._related = related_datasets({name: known[name] for name in self._marks if name in known})

    def marks(self) -> dict[str, str]:
        """Return dataset -> mark of its facts, if the pages show its newest vintage."""
        found = {name: self._vintages.get(name) for name in self._marks}
        return {name: self.mark(name, Vintage.parse(vintage) if vintage else None) for name, vintage in found.items()}

    def mark(self, name: str, vintage: Vintage | None) -> str:
        """Return the mark of a dataset's facts; `vintage`: the newest, None before the first build."""
        if name not in self._known or vintage is None:
            return self._marks[name]
        return f"{self._marks[name]} {self._known[name].model_dump_json()} {self.facts(name, vintage)!r}"

    def facts(self, name: str, vintage: Vintage) -> DatasetFacts:
        """Return the facts of a dataset; `vintage`: the newest."""
        declared = self._known[name].publication
        rhythm, end = declared.frequency, vintage.end.date()
        return DatasetFacts(
            frequency=rhythm,
            expected=expected(rhythm, end) if rhythm else None,
            freshness=freshness(rhythm, end, self._today) if rhythm else None,
            reuses=declared.reuses,
            related=self._related[name],
        )


class _Collector:
    """Collects the facts of a dataset's releases."""

    def __init__(
        self, deployment: Deployment, state: State, folder: Path, site: SiteFacts, known: Mapping[str, Dataset]
    ) -> None:
        self._reader = FactsReader(deployment, known)
        self._deployment, self._ledger = deployment, deployment.ledger
        self._state, self._folder, self._site = state, folder, site

    def dataset(self, name: str, dataset: Dataset | None) -> list[ReleaseFacts]:
        """Return the facts of all releases of a dataset, the newest first."""
        if dataset is None:
            raise IntegrityError(f"The ledger has no declaration of {name}", rerun="checksums")
        listed = next(self._ledger.catalogue.listed([name]))
        published = [self._public(each) for each in dataset_published(self._deployment, self._reader, listed)]
        found = {each.name: each for each in self._ledger.releases.published(name)}
        ordered = sorted(
            ((found[each.name], each) for each in published),
            key=lambda pair: (pair[1].latest, pair[0].vintage, pair[0].version),
        )
        ordered.reverse()
        versions = tuple(map(_listed, reversed(published)))
        seen = self._ledger.observations.of(dataset.id)
        return [
            self._release(dataset, each, metadata, versions, seen.get(str(each.vintage))) for each, metadata in ordered
        ]

    def _public(self, published: PublishedMetadata) -> PublishedMetadata:
        """Return the metadata with the addresses of the embedded default where the store has no public address."""
        pages = f"{self._site.url}en/datasets/{{dataset}}/{{vintage}}/{{version}}/"
        own = published.site
        site: PublishedSite = replace(
            own, base_url=own.base_url or self._site.store_urls[0], page_url=own.page_url or pages
        )
        return replace(published, site=site)

    def _release(
        self,
        dataset: Dataset,
        release: PublishedRelease,
        published: PublishedMetadata,
        versions: tuple[ListedRelease, ...],
        observed: Observation | None,
    ) -> ReleaseFacts:
        judgements, natives = self._ledger.judgements, self._ledger.natives
        computed = self._computed(release)
        return ReleaseFacts(
            published=published,
            versions=versions,
            region=dataset.name.region,
            package=dataset.name.package,
            checks=judgements.checks(release.data_sha256),
            overridden=frozenset(each.check for each in judgements.overrides(release.data_sha256)),
            copies=tuple(self._copies(release, published)),
            natives=natives.current(dataset.id, release.vintage),
            commit=computed["commit"],
            libraries=computed["libraries"],
            columns={name: _column(values) for name, values in computed["columns"].items()},
            geometries=computed["geometries"],
            latest=self._latest(dataset, release, published),
            picture=computed["picture"],
            looked_at=observed.seen_at if observed else None,
            pending=observed is not None and observed.seen is not None and observed.seen != observed.settled,
        )

    def _copies(self, release: PublishedRelease, published: PublishedMetadata) -> Iterator[CopyFacts]:
        found = self._ledger.copies.of(release)
        for store in self._deployment.stores:
            own = [copy for copy in found if copy.store == store.name]
            if own:
                yield CopyFacts(
                    place=store.name,
                    kind="primary" if store is self._deployment.primary else "mirror",
                    files=len(own),
                    intact=all(copy.intact for copy in own),
                    verified_at=min(copy.verified_at for copy in own),
                )
        kept = [file for file in published.files if file.archive]
        if kept:
            # The deposit compared every file before the publication; after it, audits read them back.
            audited = self._ledger.fixity.in_archive(release.id)
            moments = [copy.read_at for copy in audited if copy.read_at is not None]
            yield CopyFacts(
                place=published.archive,
                kind="archive",
                files=len(kept),
                intact=not any(copy.state.is_lost for copy in audited),
                verified_at=min(moments, default=published.published_at),
            )

    def _latest(self, dataset: Dataset, release: PublishedRelease, published: PublishedMetadata) -> Mapping[str, str]:
        """Return data file -> the URL under `/processed/` that serves its newest version."""
        if not published.latest:
            return {}
        files = release.data_files
        url = self._deployment.primary.url
        if len(files) == 1 and not release.part(files[0]):
            return {files[0].name: url(latest_address_of(dataset, release))}
        name, vintage = dataset.name.as_dataset_name(), None if dataset.series == "rolling" else release.vintage
        return {file.name: url(latest_part_address(name, vintage, release.part(file))) for file in files}

    def _computed(self, release: PublishedRelease) -> dict[str, Any]:
        """Return columns, geometry types, picture and provenance of a release, read once from its files."""
        found = self._state.of_release(release.key)
        stem = release.data_sha256[:20]
        picture = self._folder / PICTURES / f"{stem}.webp"
        if found is not None and (found["picture"] is None or picture.exists()):
            return found
        profile, manifest = self._profile(release), manifest_of(self._deployment, release)
        paths = [artifact_path(self._deployment, release, artifact) for artifact in release.data_files]
        drawn = card_picture(paths) if release.summary.geometry_types else None
        if drawn is not None:
            write_file(picture, drawn)
        limit, temp = self._deployment.settings.memory_limit, self._deployment.settings.temp
        wanted = release.summary.columns
        columns = column_facts(wanted, profile, paths, memory_limit=limit, temp=temp) if profile else {}
        computed = {
            "columns": {name: asdict(values) for name, values in columns.items()},
            "geometries": (profile.get("geometry") or {}).get("types", {}),
            "picture": stem if drawn is not None else None,
            "commit": manifest.code.commit,
            "libraries": dict(manifest.libraries),
        }
        self._state.keep_release(release.key, computed)
        return self._state.of_release(release.key)

    def _profile(self, release: PublishedRelease) -> dict[str, Any]:
        artifact = release.artifact(ArtifactRole.PROFILE)
        return json.loads(read_artifact(self._deployment, release, artifact)) if artifact else {}


def _column(values: Mapping[str, Any]) -> ColumnFacts:
    top = tuple((value, count) for value, count in values["top"])
    return ColumnFacts(**{**values, "histogram": tuple(values["histogram"]), "top": top})


def _listed(published: PublishedMetadata) -> ListedRelease:
    """Return the release as lists have it: without its files and columns, which would be repeated for each version."""
    return ListedRelease(**{field.name: getattr(published, field.name) for field in fields(ListedRelease)})
