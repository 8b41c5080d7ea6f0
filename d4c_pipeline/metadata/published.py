"""A published release as records and feeds describe it: its facts as frozen types.

`metadata.mapping` collects them. The form of a record belongs to `metadata.records`, the site-wide documents belong to
`catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import (
    catalogue_item_address,
    catalogue_latest_address,
    catalogue_record_address,
    catalogue_versions_address,
)
from d4c_pipeline.model.credits import Contributor, Funding, Party
from d4c_pipeline.model.dataset import BilingualKeywords
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.licences import Licence
from d4c_pipeline.model.release import (
    ArtifactRole,
    Change,
    Column,
    Withdrawal,
)
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees (EPSG:4326)."""
Tongue = Literal["en", "fr"]
TONGUES: tuple[Tongue, ...] = ("en", "fr")
_MARKS = {"en": "Withdrawn: ", "fr": "Version retirée : "}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The location of a release. `origin`: the data's bounds, the declared extent, or the geography of the DGUID.

    `boxes` are one box, or two for a place across 180 degrees: the western part of the globe's east comes first.
    """

    origin: Literal["data", "declared", "dguid"]
    boxes: tuple[Bounds, ...]
    name: Bilingual | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedTorrent:
    """The torrent of a data file. `address`: the `.torrent` with today's web seeds in a store; `size` in bytes."""

    file: str
    address: str
    size: int | None
    data_size: int
    info_hash: str
    info_hash_v2: str | None
    magnet: str


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of a release. `address`: in every store; `mirrors`, `archive`: URLs of the same bytes elsewhere.

    `part`, `rows` and `bounds` are those of a part of the data; `part` is empty where the data is one file.
    """

    name: str
    role: ArtifactRole
    media_type: str
    size: int
    md5: str
    sha256: str
    address: str
    mirrors: tuple[str, ...] = ()
    archive: str | None = None
    part: str = ""
    rows: int | None = None
    bounds: Bounds | None = None
    torrent: PublishedTorrent | None = None


@dataclass(frozen=True, kw_only=True)
class VersionLink:
    """Another release of the same product. `doi` is None for a test DOI, which never resolves."""

    dataset: str
    vintage: Vintage
    version: Version
    name: str
    doi: str | None = None

    @property
    def item_address(self) -> str:
        """The address of its STAC item in the static catalogue."""
        return catalogue_item_address(self.dataset, self.vintage, self.version)


@dataclass(frozen=True, kw_only=True)
class VersionLine:
    """The neighbours of a release: the previous version, the newest, and the one that supersedes it.

    `newest` is None where a newer version must not change the facts of all older ones: in the file of records.
    """

    newest: VersionLink | None
    previous: VersionLink | None = None
    superseded_by: VersionLink | None = None


@dataclass(frozen=True, kw_only=True)
class ListedRelease:
    """A release as lists and feeds show it: one row of the ledger, cheap enough to build for every release.

    `title` is the dataset's; `doi` is registered unless `test_doi`; `bytes` are those of the data files. `counts`: the
    changed rows since the release before (see `release.CHANGES`), None where none were compared or a list needs none.
    """

    dataset: str
    vintage: Vintage
    version: Version
    name: str
    title: Bilingual
    doi: str
    test_doi: bool
    published_at: datetime
    rows: int
    bytes: int
    latest: bool
    change: Change
    concept_doi: str | None = None
    archive: str = "local"
    archive_url: str | None = None
    torrents: tuple[PublishedTorrent, ...] = ()
    withdrawn: Withdrawal | None = None
    counts: Mapping[str, Any] | None = None

    def titled(self, language: Tongue) -> str:
        """Return title, vintage and version in a language; a withdrawn release is marked."""
        mark = "" if self.withdrawn is None else _MARKS[language]
        return f"{mark}{getattr(self.title, language)}, {self.vintage}, v{self.version}"

    @property
    def updated_at(self) -> datetime:
        """The time of the last event that readers see: the publication, or the withdrawal."""
        return self.published_at if self.withdrawn is None else self.withdrawn.at

    @property
    def doi_url(self) -> str | None:
        """The address that the DOI resolves at, None for a test DOI."""
        return None if self.test_doi else f"https://doi.org/{self.doi}"

    @property
    def concept_doi_url(self) -> str | None:
        """The address of the DOI of all versions, None without one and for a test DOI."""
        return None if self.test_doi or self.concept_doi is None else f"https://doi.org/{self.concept_doi}"

    @property
    def link(self) -> VersionLink:
        """The release as a neighbour in a line of versions."""
        return VersionLink(
            dataset=self.dataset,
            vintage=self.vintage,
            version=self.version,
            name=self.name,
            doi=None if self.test_doi else self.doi,
        )

    @property
    def item_address(self) -> str:
        """The address of the STAC item in the static catalogue."""
        return catalogue_item_address(self.dataset, self.vintage, self.version)

    def record_address(self, file_name: str) -> str:
        """Return the address of a record of this release."""
        return catalogue_record_address(self.dataset, self.vintage, self.version, file_name)


@dataclass(frozen=True, kw_only=True)
class PublishedMetadata(ListedRelease):
    """All facts that a record of a published release needs, in both languages; texts are plain text, never markup.

    `identifier`: `urn:d4c:...`. `record`: the archive's record of the same release, whose descriptions are HTML.
    `place` is None where neither data, declaration nor DGUID has a place. `files`: sorted by name. `sources`: public
    addresses of the native files. `licence_file`: name of the file with the licence's text. `frequency`: see
    `model.frequency`.
    """

    site: Site
    record: RecordMetadata
    identifier: str
    series: Literal["editions", "rolling"]
    dguid: str
    description: Bilingual
    citation: Bilingual
    licence: Licence
    creators: tuple[Party, ...]
    line: VersionLine
    planned_at: datetime
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    files: tuple[PublishedFile, ...]
    attribution: Bilingual | None = None
    keywords: BilingualKeywords = field(default_factory=BilingualKeywords)
    providers: tuple[Party, ...] = ()
    contributors: tuple[Contributor, ...] = ()
    contacts: tuple[Contributor, ...] = ()
    funding: tuple[Funding, ...] = ()
    languages: tuple[str, ...] = ()
    licence_file: str | None = None
    crs: str | None = None
    geometry_types: tuple[str, ...] = ()
    partition: str | None = None
    place: Place | None = None
    sources: tuple[str, ...] = ()
    homepage: str | None = None
    frequency: str | None = None

    @property
    def page(self) -> str | None:
        """The page of the release in the portal, None without a portal."""
        return self.site.page(self.dataset, self.vintage, self.version)

    @property
    def landing_page(self) -> str:
        """The address for people: the DOI, else the portal's page, the archive's record or the STAC item."""
        return self.doi_url or self.page or self.archive_url or self.href(self.item_address)

    @property
    def latest_address(self) -> str:
        """The address of the item of the version to use."""
        return catalogue_latest_address(self.dataset, None if self.series == "rolling" else self.vintage)

    @property
    def versions_address(self) -> str:
        """The address of the list of the dataset's releases."""
        return catalogue_versions_address(self.dataset)

    @property
    def data_files(self) -> tuple[PublishedFile, ...]:
        """The data: one file, or one for each part."""
        return tuple(file for file in self.files if file.role is ArtifactRole.DATA)

    @property
    def thumbnail(self) -> PublishedFile | None:
        """The map picture of the data, if any."""
        return next((file for file in self.files if file.role is ArtifactRole.THUMBNAIL), None)

    def href(self, address: str) -> str:
        """Return the URL of an address in the store; without a public address, the path relative to the records."""
        return self.site.href(address, self.record_address("record"))

    def url(self, file: PublishedFile) -> str:
        """Return the address of a file for readers: the primary store's, else a mirror's, the archive's, a path."""
        if self.site.base_url is None and (elsewhere := (*file.mirrors, *filter(None, (file.archive,)))):
            return elsewhere[0]
        return self.href(file.address)

    def urls(self, file: PublishedFile) -> tuple[str, ...]:
        """Return every address of a file: the one of `url`, then those of mirrors and archive."""
        return tuple(dict.fromkeys((self.url(file), *file.mirrors, *filter(None, (file.archive,)))))


def boxes_of(bounds: Bounds) -> tuple[Bounds, ...]:
    """Return the box of `bounds`, or two where west is greater than east: the box crosses 180 degrees."""
    west, south, east, north = bounds
    return (bounds,) if west <= east else ((west, south, 180.0, north), (-180.0, south, east, north))
