"""The records of a release's publication: deposit, copies, torrents, catalogue item and the latest switch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from sqlalchemy import Engine, RowMapping, Table, delete, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.addresses import HIDDEN
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import (
    Copy,
    Deposit,
    DepositState,
    LivingRelease,
    PlannedRelease,
    PublishedRelease,
    Release,
    Torrent,
)
from d4c_pipeline.model.vintage import Vintage


class DepositFacts(TypedDict, total=False):
    """The columns of a deposit that an archive decides; an absent key leaves its column unchanged."""

    record_id: str | None
    concept_id: str | None
    doi: str | None
    concept_doi: str | None
    url: str | None
    files: dict[str, str]


class Deposits:
    """Deposits in the ledger: a row is written before a remote call and again after it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, release: LivingRelease, archive: str, *, test: bool) -> Deposit:
        """Return the deposit of a release; a new deposit is `planned`."""
        table = schema.deposit
        with self._engine.begin() as connection:
            known = connection.execute(select(table.c.state).where(table.c.release_id == release.id)).first()
            if known is None:
                connection.execute(
                    insert(table).values(
                        release_id=release.id,
                        archive=archive,
                        state=DepositState.PLANNED.value,
                        test=test,
                        files={},
                        updated_at=now(),
                    )
                )
                append(
                    connection,
                    "deposit planned",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    archive=archive,
                )
        return self._written(release)

    def advance(self, release: LivingRelease, state: DepositState, **facts: Unpack[DepositFacts]) -> Deposit:
        """Move a deposit to `state` and record the given facts.

        Raises IntegrityError for a move away from `published`.
        """
        table = schema.deposit
        with self._engine.begin() as connection:
            current = connection.execute(select(table.c.state).where(table.c.release_id == release.id)).scalar_one()
            if current == DepositState.PUBLISHED.value and state is not DepositState.PUBLISHED:
                raise IntegrityError(f"The deposit of {release.name} is published and can't be {state}", "Run again")
            connection.execute(
                update(table)
                .where(table.c.release_id == release.id)
                .values(state=state.value, updated_at=now(), **facts)
            )
            mark_changed(connection, release.id)
            if current != state.value:
                append(
                    connection,
                    f"deposit {state.value}",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    **{key: value for key, value in facts.items() if key in ("record_id", "doi", "concept_doi")},
                )
        return self._written(release)

    def of(self, release: Release) -> Deposit | None:
        """Return the deposit of a release."""
        table = schema.deposit
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.release_id == release.id)).mappings().first()
        return None if row is None else deposit_from(row)

    def all(self) -> tuple[Deposit, ...]:
        """Return every deposit, in the order in which their releases were planned."""
        table = schema.deposit
        with reading(self._engine) as connection:
            return tuple(
                deposit_from(row) for row in connection.execute(select(table).order_by(table.c.release_id)).mappings()
            )

    def described(self, release: Release) -> dict[str, Any] | None:
        """Return the record of the last metadata sent for a release."""
        table = schema.deposit
        with self._engine.begin() as connection:
            return connection.execute(select(table.c.described).where(table.c.release_id == release.id)).scalar()

    def describe(self, release: PlannedRelease, described: Mapping[str, Any]) -> None:
        """Record the metadata of a release before or after sending them."""
        table = schema.deposit
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.release_id == release.id).values(described=dict(described)))

    def note_edits(self, release: PlannedRelease, fields: Iterable[str]) -> None:
        """Append an event: fields that people edited at the archive were kept."""
        with self._engine.begin() as connection:
            append(
                connection,
                "archive edits kept",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                fields=sorted(fields),
            )

    def record_registration(self, release: PublishedRelease, *, registered: bool) -> None:
        """Record a lookup of a published release's DOI, and whether the DOI is registered."""
        table = schema.deposit
        with self._engine.begin() as connection:
            moment = now()
            connection.execute(
                update(table).where(table.c.release_id == release.id).values(registration_checked_at=moment)
            )
            first = connection.execute(
                update(table)
                .where(table.c.release_id == release.id, table.c.registered_at.is_(None))
                .values(registered_at=moment if registered else None)
            ).rowcount
            if registered and first:
                append(
                    connection,
                    "doi registered",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                )

    def _written(self, release: Release) -> Deposit:
        found = self.of(release)
        if found is None:
            raise IntegrityError(
                f"The deposit of {release.name} vanished from the ledger", "Look at the ledger's backups"
            )
        return found


def deposit_from(row: RowMapping) -> Deposit:
    """Return the deposit in a row of the table."""
    values: dict[str, Any] = {key: row[key] for key in Deposit.__dataclass_fields__}
    values["state"] = DepositState(row["state"])
    return Deposit(**values)


class Copies:
    """Copies of artifacts in stores."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(
        self, release: LivingRelease, artifact: str, store: str, *, address: str, size: int, sha256: str, intact: bool
    ) -> None:
        """Record a copy with the result of its verification."""
        table = schema.copy
        here = (table.c.release_id == release.id, table.c.artifact == artifact, table.c.store == store)
        with self._engine.begin() as connection:
            known = connection.execute(select(table.c.address, table.c.intact).where(*here)).first()
            connection.execute(delete(table).where(*here))
            connection.execute(
                insert(table).values(
                    release_id=release.id,
                    artifact=artifact,
                    store=store,
                    address=address,
                    size=size,
                    sha256=sha256,
                    verified_at=now(),
                    intact=intact,
                )
            )
            if known is None or (known.address, known.intact) != (address, intact):
                mark_changed(connection, release.id)

    def forget_hidden(self, release: PlannedRelease) -> None:
        """Forget the copies at hidden addresses, which nothing may list once a release is public."""
        table = schema.copy
        hidden = table.c.address.startswith(HIDDEN, autoescape=True)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.release_id == release.id, hidden))
            mark_changed(connection, release.id)

    def of(self, release: Release) -> tuple[Copy, ...]:
        """Return the copies of a release, by artifact and store."""
        table = schema.copy
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.release_id == release.id).order_by(table.c.artifact, table.c.store)
            ).mappings()
            return tuple(Copy(**{key: row[key] for key in Copy.__dataclass_fields__}) for row in rows)


class Publications:
    """Torrents, catalogue items and the releases at `/processed/` addresses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_torrents(self, release: LivingRelease, torrents: Mapping[str, Torrent]) -> None:
        """Record the torrents of a release by the names of their data artifacts, replacing earlier ones."""
        table = schema.torrent
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.release_id == release.id))
            for artifact, torrent in torrents.items():
                values = {**vars(torrent), "web_seeds": list(torrent.web_seeds)}
                connection.execute(insert(table).values(release_id=release.id, artifact=artifact, **values))
            mark_changed(connection, release.id)

    def torrents(self, release: Release) -> dict[str, Torrent]:
        """Return the torrents of a release by the names of their data artifacts, sorted; empty before `torrent` ran."""
        table = schema.torrent
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).where(table.c.release_id == release.id)).mappings().all()
        found: dict[str, Torrent] = {}
        for row in sorted(rows, key=lambda row: row["artifact"]):
            values: dict[str, Any] = {key: row[key] for key in Torrent.__dataclass_fields__}
            values["web_seeds"] = tuple(row["web_seeds"])
            found[row["artifact"]] = Torrent(**values)
        return found

    def record_item(self, release: LivingRelease, item: Mapping[str, Any]) -> None:
        """Record the STAC item of a release."""
        self._put(schema.stac_item, release, {"item": dict(item)})

    def item(self, release: Release) -> dict[str, Any] | None:
        """Return the STAC item of a release."""
        row = self._row(schema.stac_item, release)
        return None if row is None else row["item"]

    def claim_latest(self, release: PublishedRelease, addresses: Iterable[str]) -> None:
        """Record the addresses at which files of `release` are about to be put, unless they are recorded already.

        A later switch finds and removes the files of a killed switch at these addresses.
        """
        table = schema.latest
        with self._engine.begin() as connection:
            known = set(connection.execute(select(table.c.address)).scalars())
            for address in sorted(set(addresses) - known):
                connection.execute(
                    insert(table).values(address=address, release_id=release.id, sha256="", switched_at=now())
                )

    def switch_latest(self, release: PublishedRelease, serving: Mapping[str, str], stale: Iterable[str]) -> None:
        """Record that the addresses `serving` (address -> sha256) serve `release` now, and `stale` serve nothing."""
        table = schema.latest
        with self._engine.begin() as connection:
            gone = set(stale)
            before: dict[str, tuple[int, str]] = {}
            for some in chunked({*serving, *gone}):
                for row in connection.execute(select(table).where(table.c.address.in_(some))).mappings():
                    before[row["address"]] = (row["release_id"], row["sha256"])
            after = {address: (release.id, sha256) for address, sha256 in serving.items()}
            if before == after:
                return
            for some in chunked({*serving, *gone}):
                connection.execute(delete(table).where(table.c.address.in_(some)))
            for address, sha256 in serving.items():
                connection.execute(
                    insert(table).values(address=address, release_id=release.id, sha256=sha256, switched_at=now())
                )
            served = {number for number, sha256 in before.values() if sha256}
            append(
                connection,
                "latest switched",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                addresses=sorted(serving),
                removed=sorted(gone),
                before=max(served, default=None),
            )

    def latest(self) -> dict[str, int]:
        """Return the id of the release that each `/processed/` address serves."""
        table = schema.latest
        with reading(self._engine) as connection:
            rows = connection.execute(select(table.c.address, table.c.release_id).where(table.c.sha256 != ""))
            return {row.address: row.release_id for row in rows}

    def latest_digests(self, dataset: str) -> frozenset[str]:
        """Return the sha256 of every recorded file of a dataset at `/processed/` addresses."""
        table = schema.latest
        query = select(table.c.sha256).join(schema.release).where(schema.release.c.dataset == dataset)
        with reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars()) - {""}

    def latest_owners(self, stem: str) -> frozenset[str]:
        """Return the ids of the datasets with recorded `/processed/` addresses that begin with `stem`."""
        table = schema.latest
        query = select(schema.release.c.dataset).join(table).where(table.c.address.startswith(stem, autoescape=True))
        with reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars())

    def latest_addresses(self, dataset: str, vintage: Vintage | None) -> frozenset[str]:
        """Return all recorded `/processed/` addresses of a dataset, or of a vintage of it."""
        table = schema.latest
        query = select(table.c.address).join(schema.release).where(schema.release.c.dataset == dataset)
        if vintage is not None:
            query = query.where(schema.release.c.vintage == str(vintage))
        with reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars())

    def _put(self, table: Table, release: Release, values: Sequence[Any] | Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.release_id == release.id))
            connection.execute(insert(table).values(release_id=release.id, **dict(values)))
            mark_changed(connection, release.id)

    def _row(self, table: Table, release: Release) -> RowMapping | None:
        with reading(self._engine) as connection:
            return connection.execute(select(table).where(table.c.release_id == release.id)).mappings().first()
