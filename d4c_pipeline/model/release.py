"""Releases, artifacts, native files, deposits and copies, as the ledger returns them.

Storing them belongs to `ledger`; moving a deposit from state to state belongs to `archives`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from d4c_pipeline.model.parts import Part, part_of, set_digest
from d4c_pipeline.model.reasons import Reason
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage


class ArtifactRole(StrEnum):
    """The purpose of a file of a release."""

    DATA = "data"
    TILES = "tiles"
    DESKTOP = "desktop"
    THUMBNAIL = "thumbnail"
    NOTEBOOK = "notebook"
    PROFILE = "profile"
    MANIFEST = "manifest"
    CHECKSUMS = "checksums"
    TORRENT = "torrent"
    METADATA = "metadata"
    SOURCE = "source"
    README = "readme"
    CODE = "code"
    LICENCE = "license"
    CHECKSUMS_REST = "checksums_rest"
    CHANGES = "changes"


ITEM_NAME = "item.json"
"""The file of a release that holds its STAC item."""

CHECKSUMS_NAME = "checksums.sha256"
"""The checksums of the planned files, which determine the release's identifier."""
CHECKSUMS_REST_NAME = "checksums-rest.sha256"
"""The checksums of the files that follow from the plan: the list above, README, torrents, item."""
DERIVED_ROLES = frozenset({ArtifactRole.TILES, ArtifactRole.DESKTOP, ArtifactRole.THUMBNAIL, ArtifactRole.NOTEBOOK})
"""Roles of the files that are derived from the data if the dataset declares them."""
AFTER_ITEM = frozenset({ArtifactRole.METADATA, ArtifactRole.CHECKSUMS_REST})
"""Roles that the item does not list: the item itself and the list with its checksum."""


class ReleaseState(StrEnum):
    """The state of a release: planned, then published; a plan is abandoned when a newer build replaces it."""

    PLANNED = "planned"
    PUBLISHED = "published"
    ABANDONED = "abandoned"


class DepositState(StrEnum):
    """The state of a deposit, in the order of its states (see docs/deposits.md)."""

    PLANNED = "planned"
    DRAFT_OPEN = "draft_open"
    DOI_RESERVED = "doi_reserved"
    FILES_SYNCED = "files_synced"
    VERIFIED = "verified"
    AWAITING_REVIEW = "awaiting_review"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    ABANDONED = "abandoned"

    @property
    def rank(self) -> int:
        """The position of the state in the order, from planned (0) on."""
        return list(DepositState).index(self)


@dataclass(frozen=True)
class NativeFile:
    """A file as the source delivered it. `address` is where the primary store retains it; sizes are bytes."""

    name: str
    url: str
    sha256: str
    size: int
    etag: str | None
    last_modified: str | None
    content_type: str | None
    address: str = ""


@dataclass(frozen=True)
class Artifact:
    """One file of a release. `size` in bytes; `md5` and `sha256` in hexadecimal."""

    name: str
    role: ArtifactRole
    size: int
    md5: str
    sha256: str
    media_type: str


@dataclass(frozen=True)
class Column:
    """A column of a data artifact: its output name and Arrow type, its name at the source, its descriptions."""

    name: str
    type: str
    source: str | None = None
    description_en: str | None = None
    description_fr: str | None = None


CHANGES = "changes"
"""Key of a summary's report: the earlier release (`since`), the changed rows by `kind`, by `column`, by `province`
(code -> rows, "" in none; earlier releases lack it), and whether the release has the file of them (`carried`)."""
SAMPLE = "sample"
"""In the report of a `DataSummary`: the number of rows that were read, if the source has more; never of a release."""
LEFT_OUT = "rows_left_out_of_files"
"""Key of a summary's report: suffix of a derived file -> rows without geometry, which the format can't store."""


@dataclass(frozen=True)
class DataSummary:
    """The summary of a release's data; the ledger stores it as JSON, so that no reader opens the data again.

    `bounds` are west, south, east, north in degrees (EPSG:4326) and None for tables; `crs` is `EPSG:n` or None;
    `geometry_types` are GeoParquet's names; `report` holds counts of the processing (repaired, null, duplicates...).
    `parts` are the files of the data, sorted by name; `partition` describes the partition, None for one file.
    """

    rows: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    crs: str | None
    bounds: tuple[float, float, float, float] | None
    geometry_types: tuple[str, ...]
    report: Mapping[str, Any]
    parts: tuple[Part, ...] = ()
    partition: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return {
            "rows": self.rows,
            "columns": [vars(column) for column in self.columns],
            "key": list(self.key),
            "crs": self.crs,
            "bounds": list(self.bounds) if self.bounds else None,
            "geometry_types": list(self.geometry_types),
            "report": dict(self.report),
            "parts": [vars(part) for part in self.parts],
            "partition": self.partition,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DataSummary:
        """Read what `to_json` wrote."""
        return cls(
            rows=value["rows"],
            columns=tuple(Column(**column) for column in value["columns"]),
            key=tuple(value["key"]),
            crs=value["crs"],
            bounds=_bounds(value["bounds"]),
            geometry_types=tuple(value["geometry_types"]),
            report=value["report"],
            # Releases older than partitions have neither.
            parts=tuple(Part(part["name"], part["rows"], _bounds(part["bounds"])) for part in value.get("parts", ())),
            partition=value.get("partition"),
        )


@dataclass(frozen=True)
class Change:
    """The difference between a new build and the newest published release: the bump and the reasons for it."""

    bump: Bump
    differences: tuple[Reason, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons as English sentences."""
        return tuple(map(str, self.differences))


@dataclass(frozen=True)
class Release(ABC):
    """(dataset, vintage, version) in any state. `id` is the ledger's row; `name` is the stem of the file names.

    A function that takes a `Release` works in every state. A function that changes a release takes a `PlannedRelease`.
    `token` (128 bits, hexadecimal) is part of the hidden addresses of an unapproved release. It is None for a release
    that was adopted from an archive or published before hidden addresses existed.
    """

    id: int
    dataset: str
    vintage: Vintage
    version: Version
    name: str
    key: str
    change: Change
    summary: DataSummary
    artifacts: tuple[Artifact, ...]
    planned_at: datetime
    token: str | None = field(default=None, repr=False, kw_only=True)

    @property
    @abstractmethod
    def state(self) -> ReleaseState:
        """The state as reports and the ledger name it."""

    @property
    def identifier(self) -> str:
        """Our own identifier, which the archive's record carries, so that a search finds the record."""
        return f"urn:d4c:{self.key}"

    @property
    def data_files(self) -> tuple[Artifact, ...]:
        """The data artifacts, sorted by name: one file, or one file per part."""
        found = (artifact for artifact in self.artifacts if artifact.role is ArtifactRole.DATA)
        return tuple(sorted(found, key=lambda artifact: artifact.name))

    @property
    def data_size(self) -> int:
        """The bytes of all data files."""
        return sum(artifact.size for artifact in self.data_files)

    @property
    def data_sha256(self) -> str:
        """One sha256 (hex) over all data artifacts, see `parts.set_digest`."""
        return set_digest((self.part(artifact), artifact.sha256) for artifact in self.data_files)

    def part(self, artifact: Artifact) -> str:
        """Return the part of a data artifact or its torrent; empty for unpartitioned data."""
        return part_of(artifact.name, self.name)

    def artifact(self, role: ArtifactRole) -> Artifact | None:
        """Return the first artifact of a role, or None."""
        return next((artifact for artifact in self.artifacts if artifact.role is role), None)


@dataclass(frozen=True)
class PlannedRelease(Release):
    """A release before its publication: files can be added and uploaded, and the plan can be abandoned."""

    @property
    def state(self) -> ReleaseState:
        """`planned`."""
        return ReleaseState.PLANNED


@dataclass(frozen=True)
class Withdrawal:
    """The withdrawal of a published release: its time (UTC) and its public reason."""

    at: datetime
    reason: str

    def sentence(self, language: Literal["en", "fr"]) -> str:
        """Return the statement of the withdrawal. The reason stays in the language in which it was given."""
        if language == "fr":
            return f"Version retirée le {self.at:%Y-%m-%d} : {self.reason}"
        return f"Withdrawn on {self.at:%Y-%m-%d}: {self.reason}"

    def noted(self, description: str, language: Literal["en", "fr"]) -> str:
        """Return a description that begins with the withdrawal."""
        return f"{self.sentence(language)}\n\n{description}".rstrip()


@dataclass(frozen=True)
class PublishedRelease(Release):
    """An immutable release, which readers find in the catalogue.

    `withdrawn`: its withdrawal; None while the release stands. A withdrawn release keeps its files, DOI and addresses.
    """

    published_at: datetime
    withdrawn: Withdrawal | None = field(default=None, kw_only=True)

    @property
    def state(self) -> ReleaseState:
        """`published`."""
        return ReleaseState.PUBLISHED


@dataclass(frozen=True)
class AbandonedRelease(Release):
    """A plan that a newer build or a rejection ended. Its version is free again."""

    @property
    def state(self) -> ReleaseState:
        """`abandoned`."""
        return ReleaseState.ABANDONED


LivingRelease: TypeAlias = PlannedRelease | PublishedRelease
"""A release that steps and reports work with: planned or published, not abandoned."""


def _bounds(value: Any) -> tuple[float, float, float, float] | None:
    return (value[0], value[1], value[2], value[3]) if value else None


def release_key(dataset: str, vintage: Vintage, version: Version, artifacts: Iterable[Artifact]) -> str:
    """Return the sha256 (hex) over dataset, vintage, version and the sorted (name, sha256) of `artifacts`.

    `artifacts` are the planned files; torrent and catalogue item follow from them.
    """
    facts = [dataset, str(vintage), str(version), sorted((artifact.name, artifact.sha256) for artifact in artifacts)]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Torrent:
    """The torrent of a data artifact. Info hashes in hexadecimal; `info_hash_v2` only for hybrid torrents.

    `address` is the address of the `.torrent` in every store; `web_seeds` are complete file URLs.
    """

    info_hash: str
    info_hash_v2: str | None
    magnet: str
    piece_size: int
    web_seeds: tuple[str, ...]
    address: str


@dataclass(frozen=True)
class Snapshot:
    """A state of the catalogue as one file with its torrent. `size` in bytes, `sha256` in hexadecimal.

    `address` is the address of the file in every store.
    """

    sha256: str
    size: int
    address: str
    torrent: Torrent
    made_at: datetime


@dataclass(frozen=True)
class Deposit:
    """The record of depositing one release in an archive, as the ledger has it.

    `draft_id`/`record_id`: the archive's ids. `doi` is reserved from `doi_reserved` on and registered from `published`
    on. `concept_doi` resolves to the newest version of the vintage. `test` marks DOIs that never resolve. `files`:
    artifact name -> public address at the archive. `registered_at`: when the DOI agency first reported the published
    DOI as registered. `updated_at`: when the deposit last changed.
    """

    release_id: int
    archive: str
    state: DepositState
    record_id: str | None
    concept_id: str | None
    doi: str | None
    concept_doi: str | None
    test: bool
    url: str | None
    files: Mapping[str, str]
    registered_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Copy:
    """An artifact in a store, with the time and result of its last verification."""

    release_id: int
    artifact: str
    store: str
    address: str
    size: int
    sha256: str
    verified_at: datetime
    intact: bool


@dataclass(frozen=True)
class PrunedCopy:
    """A copy that retention has pruned; `deleted_at` is None until its deletion is verified."""

    release_id: int
    artifact: str
    store: str
    address: str
    size: int
    sha256: str
    given_up_at: datetime
    deleted_at: datetime | None
