"""Fixity: the expected copies, the known state of each copy, and how often copies are verified.

A copy is an artifact or native file in a store, at the archive or at a web seed. Verifying copies belongs to
`upkeep.fixity`, repairing them to `upkeep.repair`, storing the results to `ledger.fixity`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from d4c_pipeline.model.settings import Settings

WEB = "web"
"""The place of all web seeds, which are addresses anywhere on the web."""


class CopyKind(StrEnum):
    """The kind of a copy. Only the first three kinds can be repaired. `LATEST` is a file under `/processed/`."""

    RELEASE = "release"
    NATIVE = "native"
    LATEST = "latest"
    ARCHIVE = "archive"
    WEB_SEED = "web_seed"

    @property
    def is_stored(self) -> bool:
        """Whether the copy lies in a store of the deployment."""
        return self in (CopyKind.RELEASE, CopyKind.NATIVE, CopyKind.LATEST)


class CopyState(StrEnum):
    """The result of the last verification. The bytes of an unreachable copy are unknown."""

    INTACT = "intact"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREACHABLE = "unreachable"

    @property
    def is_lost(self) -> bool:
        """Whether the right bytes are known to be absent."""
        return self in (CopyState.DAMAGED, CopyState.MISSING)


@dataclass(frozen=True)
class ExpectedCopy:
    """A copy that should exist, as the ledger has it.

    `place`: the name of the store or archive, or `WEB`. `address`: the address in the store, `<record id>/<file name>`
    in an archive, or the URL of a web seed. `name`: the file name. `size` in bytes; `md5` only if the archive is
    compared by MD5. `verified_at`: when the process that wrote the copy last read and verified it (None: never).
    `since`: when these bytes became the expected bytes at an address that is switched; earlier readings do not cover
    them.
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
        """The key that identifies the copy."""
        return self.kind.value, self.place, self.address

    def __str__(self) -> str:
        return self.address if self.kind is CopyKind.WEB_SEED else f"{self.place}:{self.address}"


@dataclass(frozen=True)
class KnownCopy:
    """The recorded state of a copy: times of the last check and the last full reading, its ETag, and its quarantine.

    `read_bytes`: the number of bytes that the last reading by an audit took.
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
    """The result of one verification of a copy, with an explanation.

    `read`: the copy was read in full (a web seed: its sampled pieces; a record: the archive's checksums), which took
    `cost` bytes.
    """

    copy: ExpectedCopy
    state: CopyState
    detail: str = ""
    etag: str | None = None
    read: bool = False
    cost: int = 0


@dataclass(frozen=True)
class FixityPolicy:
    """How often copies are verified. Every audit checks sizes and tags in stores.

    `cycle`: the time in which each copy in a store is read in full once. `bytes_per_day`: the number of bytes that
    audits may read per day (UTC), None for no limit; an audit finishes a file that it began. `remote`: the time between
    two checks of archives and web seeds.
    """

    cycle: timedelta = timedelta(days=30)
    bytes_per_day: int | None = None
    remote: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, settings: Settings) -> FixityPolicy:
        """Return the policy of a deployment's settings."""
        return cls(cycle=timedelta(days=settings.fixity_days), bytes_per_day=settings.fixity_bytes)


def day_of(moment: datetime) -> datetime:
    """Return the start of the day (UTC) of `moment`; the daily budget counts from it."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
