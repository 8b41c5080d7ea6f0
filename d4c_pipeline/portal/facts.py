"""What the portal is built from: the facts of releases and of the site, as `chain.portal` collects them.

A release's own facts are `metadata.published.PublishedMetadata`; these types add what the ledger and the data tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from d4c_pipeline.ledger.judgements import CheckResult
from d4c_pipeline.metadata.published import ListedRelease, PublishedFile, PublishedMetadata
from d4c_pipeline.model.frequency import Freshness
from d4c_pipeline.model.publication import Reuse
from d4c_pipeline.model.release import NativeFile


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """The values of a column. `distinct` counts no nulls; `histogram` has a count per bin, `top` values with counts."""

    nulls: int
    distinct: int | None = None
    least: Any = None
    greatest: Any = None
    histogram: tuple[int, ...] = ()
    top: tuple[tuple[Any, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class CopyFacts:
    """The files of a release at a place. `verified_at`: the day of the oldest verification, None if one has none."""

    place: str
    kind: Literal["primary", "mirror", "archive"]
    files: int
    intact: bool
    verified_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """A release as its page shows it.

    `versions`: all releases of the dataset, the newest first. `overridden`: checks whose failure a reviewer accepted.
    `columns`: column -> facts of its values. `geometries`: geometry type -> count. `latest`: data file -> its address
    under `/processed/`, empty for a superseded release. `picture`: the name of its picture without the suffix.
    `looked_at`: when the source was last checked; `pending`: a change there is not published yet.
    """

    published: PublishedMetadata
    versions: tuple[ListedRelease, ...]
    region: str
    package: str
    checks: tuple[CheckResult, ...] = ()
    overridden: frozenset[str] = frozenset()
    copies: tuple[CopyFacts, ...] = ()
    natives: tuple[NativeFile, ...] = ()
    commit: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict[str, str])
    columns: Mapping[str, ColumnFacts] = field(default_factory=dict[str, ColumnFacts])
    geometries: Mapping[str, int] = field(default_factory=dict[str, int])
    latest: Mapping[str, str] = field(default_factory=dict[str, str])
    picture: str | None = None
    looked_at: datetime | None = None
    pending: bool = False

    @property
    def data(self) -> PublishedFile:
        """The data file, or its first part."""
        return self.published.data_files[0]


@dataclass(frozen=True, kw_only=True)
class RelatedDataset:
    """Another dataset: its titles in English and French, and the facts in common: theme, keys, provider, region."""

    dataset: str
    title: tuple[str, str]
    shared: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a dataset's page shows beside its newest release.

    `frequency`: see `model.frequency`. `expected`: the day after which the next vintage is complete, None without such
    a rhythm. `completeness`: see `model.completeness`, None without a declaration.
    """

    frequency: str | None = None
    expected: date | None = None
    freshness: Freshness | None = None
    reuses: tuple[Reuse, ...] = ()
    related: tuple[RelatedDataset, ...] = ()
    completeness: float | None = None


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """The deployment. `url`: the portal's address with a slash at its end; `store_urls`: the stores that pages read.

    `store_urls[0]` is the primary store's base address. `suggest`: whether its server takes submissions.
    """

    publisher: str
    url: str
    store_urls: tuple[str, ...]
    publisher_fr: str | None = None
    contact: str | None = None
    problems: str | None = None
    suggest: bool = False

    def publisher_in(self, language: str) -> str:
        """Return the publisher's name in `en` or `fr`, the only name without a French one."""
        return self.publisher_fr if language == "fr" and self.publisher_fr else self.publisher

    @property
    def root(self) -> str:
        """The path of the portal on its server, with a slash at its end."""
        return "/" + self.url.split("/", 3)[3] if self.url.count("/") > 2 else "/"

    def stored(self, address: str) -> str:
        """Return the URL of an address in the primary store."""
        return f"{self.store_urls[0].rstrip('/')}/{address}"
