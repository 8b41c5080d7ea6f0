"""`portal`: builds the pages of all published releases in the home's folder `portal`, only where facts changed.

Here belongs the collection of facts from ledger, stores and data. What a page shows belongs to `portal.views`.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from d4c_pipeline.chain.catalogue_memory import LeftOut
from d4c_pipeline.chain.catalogued_facts import AT_ONCE, FactsReader
from d4c_pipeline.chain.latest import latest_address_of
from d4c_pipeline.chain.portal_datasets import RecordedDataset, recorded
from d4c_pipeline.chain.portal_processes import in_processes
from d4c_pipeline.chain.portal_result import PortalBuilt
from d4c_pipeline.chain.published import dataset_published
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.catalogue import Listed
from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.metadata.published import ListedRelease, PublishedMetadata
from d4c_pipeline.metadata.site import Site as PublishedSite
from d4c_pipeline.model.addresses import CATALOGUE_ROOT, latest_part_address
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.model.release import ArtifactRole, PublishedRelease
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.addresses import PICTURES
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import ColumnFacts, CopyFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.pictures import card_picture
from d4c_pipeline.portal.site import Built, Site
from d4c_pipeline.portal.state import State
from d4c_pipeline.portal.statistics import column_facts
from d4c_pipeline.tables.parallel import workers
from d4c_pipeline.workspace.deployment import Deployment, portal_folder
from d4c_pipeline.workspace.plans import manifest_of
from d4c_pipeline.workspace.progress import Progress, report
from d4c_pipeline.workspace.staging import artifact_path, read_artifact

_WAIT_SECONDS = 3600.0
_AT_ONCE = 64  # datasets that a process builds and writes together


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
        target = Site(folder, state, site, bundle)
        datasets = recorded(deployment, state, target.form, declared)
        vintages = state.vintages()
        marks = {name: each.mark(_vintage(vintages.get(name))) for name, each in datasets.items()}
        changed = [datasets[name] for name in target.changed(marks)]
        some = [changed[start : start + _AT_ONCE] for start in range(0, len(changed), _AT_ONCE)]
        count = min(workers(deployment.settings.threads), len(some))
        if count > 1:
            begin = _begin, (deployment.settings, folder, site, bundle)
            parts = list(in_processes(_build_some, some, count, lease.renew, begin))
        else:
            builder = _Builder(deployment, state, target, folder, site)
            parts = [builder.build(each, lease.renew) for each in some]
        before = target.counts
        done: Built = target.finish(marks)
    return PortalBuilt(
        folder,
        site.url,
        done.pages,
        done.written - before[0] + sum(part.written for part in parts),
        done.removed - before[1] + sum(part.removed for part in parts),
        len(marks),
        bundle.is_built,
        tuple(sorted((each for part in parts for each in part.left_out), key=lambda each: each.dataset)),
    )


@dataclass(frozen=True)
class _Part:
    """What was built of some datasets."""

    written: int
    removed: int
    left_out: tuple[LeftOut, ...]


class _Builder:
    """Builds the pages of some datasets."""

    def __init__(self, deployment: Deployment, state: State, target: Site, folder: Path, site: SiteFacts) -> None:
        self._deployment, self._state, self._target = deployment, state, target
        self._folder, self._site = folder, site

    def build(self, some: Sequence[RecordedDataset], renew: Callable[[], None] = lambda: None) -> _Part:
        """Collect the facts of each dataset and write its pages; `renew` is called before each."""
        written, removed = self._target.counts
        known = self._deployment.ledger.declarations.of_many(each.name for each in some if each.declared is None)
        known |= {each.name: each.declared for each in some if each.declared is not None}
        collector = _Collector(self._deployment, self._state, self._folder, self._site, known)
        left_out: list[LeftOut] = []
        for each in some:
            renew()
            try:
                releases = collector.dataset(each.name, known.get(each.name))
                vintage = releases[0].published.vintage
                self._target.dataset(each.mark(vintage), releases, each.facts(vintage))
            except (PermanentError, IntegrityError) as error:
                # One faulty dataset must not keep the others from their pages.
                left_out.append(LeftOut(each.name, error.cause, error.remedy))
        self._target.flush()
        now = self._target.counts
        return _Part(now[0] - written, now[1] - removed, tuple(left_out))


_builders: list[_Builder] = []  # of this process of a pool


def _day(moment: datetime) -> datetime:
    """Return the beginning of a day: pages show days, and another time of the day is no reason to write them again."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _begin(settings: Settings, folder: Path, site: SiteFacts, bundle: Bundle) -> None:
    """Open deployment and state in a process of the pool, which closes them when it ends."""
    opened = ExitStack()
    atexit.register(opened.close)
    deployment = opened.enter_context(Deployment.open(settings, archive=False))
    state = opened.enter_context(State(folder))
    _builders.append(_Builder(deployment, state, Site(folder, state, site, bundle), folder, site))


def _build_some(some: Sequence[RecordedDataset]) -> _Part:
    return _builders[0].build(some)


def _vintage(text: str | None) -> Vintage | None:
    return Vintage.parse(text) if text else None


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
        suggest=AppraisalSettings.from_environment().is_open,
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
        found = {each.name: each for each in self._releases(listed)}
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

    def _releases(self, listed: Sequence[Listed]) -> Iterator[PublishedRelease]:
        """Yield the releases that the reader has; those of few are in its memory already."""
        for start in range(0, len(listed), AT_ONCE):
            for facts in self._reader.of(listed[start : start + AT_ONCE]).values():
                yield facts.release

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
            looked_at=_day(observed.seen_at) if observed and observed.seen_at else None,
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
                    verified_at=_day(min(copy.verified_at for copy in own)),
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
                verified_at=_day(min(moments, default=published.published_at)),
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
