"""Fixity: which copies there should be, what is known of each, and how often they are looked at.

A copy is wherever the bytes of an artifact or of a native file are kept for others: a store, the archive, a web seed.
Looking at them belongs to `upkeep.fixity`, mending them to `upkeep.repair`, remembering to `ledger.fixity`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from d4c_pipeline.model.settings import Settings

WEB = "web"
"""The place of web seeds, which are addresses of the whole web."""


class CopyKind(StrEnum):
    """What a copy is of, and where; only the first three are ours to mend. `LATEST` is what `/processed/` serves."""

    RELEASE = "release"
    NATIVE = "native"
    LATEST = "latest"
    ARCHIVE = "archive"
    WEB_SEED = "web_seed"

    @property
    def is_stored(self) -> bool:
        """Whether it lies in one of our stores."""
        return self in (CopyKind.RELEASE, CopyKind.NATIVE, CopyKind.LATEST)


class CopyState(StrEnum):
    """What the last look at a copy found. Of an unreachable one nothing is known but that it could not be asked."""

    INTACT = "intact"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREACHABLE = "unreachable"

    @property
    def is_lost(self) -> bool:
        """Whether the right bytes are known not to be there."""
        return self in (CopyState.DAMAGED, CopyState.MISSING)


@dataclass(frozen=True)
class ExpectedCopy:
    """A copy that should be there, as the ledger has it.

    `place`: name of the store or archive, or `WEB`. `address`: in the store; `<record id>/<file name>` in an archive;
    a web seed's URL. `name`: of the file. `size` in bytes; `md5` only where an archive is compared by it.
    `verified_at`: when it was last read and found right by what put it there (None: never). `since`: when these bytes
    became the expected ones at an address that is switched; what was read before says nothing of them.
    """

    kind: CopyKind
    place: str
    address: str
    dataset: str
    vintage: str
    release_id: int | None
    name: str
    size: int
    sha256: str
    md5: str | None = None
    verified_at: datetime | None = field(default=None, compare=False)
    since: datetime | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.kind.value, self.place, self.address

    def __str__(self) -> str:
        return self.address if self.kind is CopyKind.WEB_SEED else f"{self.place}:{self.address}"


@dataclass(frozen=True)
class KnownCopy:
    """What was found of a copy: when it was looked at last, when read in full, its tag then, and where rot was put.

    `read_bytes`: what the last reading by an audit took.
    """

    state: CopyState
    detail: str
    looked_at: datetime
    read_at: datetime | None
    read_bytes: int
    etag: str | None
    quarantine: str | None


@dataclass(frozen=True)
class Verification:
    """One look at a copy: what was found, with words for it.

    `read`: in full (of a web seed: its sampled pieces; of a record: the archive's checksums), which took `cost` bytes.
    """

    copy: ExpectedCopy
    state: CopyState
    detail: str = ""
    etag: str | None = None
    read: bool = False
    cost: int = 0


@dataclass(frozen=True)
class FixityPolicy:
    """How often copies are looked at. Sizes and tags in stores: at each audit.

    `cycle`: each copy in a store is read in full once in that time. `bytes_per_day`: how much an audit may read per day
    (UTC), None for no limit; a file that is begun is read to its end. `remote`: how often archives and web seeds are
    asked.
    """

    cycle: timedelta = timedelta(days=30)
    bytes_per_day: int | None = None
    remote: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, settings: Settings) -> FixityPolicy:
        """Return what a deployment's settings say."""
        return cls(cycle=timedelta(days=settings.fixity_days), bytes_per_day=settings.fixity_bytes)


def day_of(moment: datetime) -> datetime:
    """Return when the day (UTC) of `moment` began, from which its budget counts."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
