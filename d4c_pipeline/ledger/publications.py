"""What publication leaves behind per release: deposit, copies, torrent, catalogue item and the latest switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, RowMapping, Table, delete, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Copy, Deposit, DepositState, Release, Torrent


class Deposits:
    """Deposits in the ledger: a row is written before a remote call and again after it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, release: Release, archive: str, *, test: bool) -> Deposit:
        """Return the deposit of a release, planned when there is none yet."""
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

    def advance(self, release: Release, state: DepositState, **facts: Any) -> Deposit:
        """Move a deposit to `state` with what is known by now (`record_id`, `doi`, `files`, ...).

        Raises IntegrityError for a step back from `published`, which nothing undoes.
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
        with self._engine.begin() as connection:
            row = connection.execute(select(table).where(table.c.release_id == release.id)).mappings().first()
        if row is None:
            return None
        values: dict[str, Any] = {key: row[key] for key in Deposit.__dataclass_fields__}
        values["state"] = DepositState(row["state"])
        return Deposit(**values)

    def _written(self, release: Release) -> Deposit:
        found = self.of(release)
        if found is None:
            raise IntegrityError(
                f"The deposit of {release.name} vanished from the ledger", "Look at the ledger's backups"
            )
        return found


class Copies:
    """Copies of artifacts in stores."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(
        self, release: Release, artifact: str, store: str, *, address: str, size: int, sha256: str, intact: bool
    ) -> None:
        """Record a copy with the result of the verification that was just made."""
        table = schema.copy
        with self._engine.begin() as connection:
            connection.execute(
                delete(table).where(
                    table.c.release_id == release.id, table.c.artifact == artifact, table.c.store == store
                )
            )
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

    def of(self, release: Release) -> tuple[Copy, ...]:
        """Return the copies of a release, by artifact and store."""
        table = schema.copy
        with self._engine.begin() as connection:
            rows = connection.execute(
                select(table).where(table.c.release_id == release.id).order_by(table.c.artifact, table.c.store)
            ).mappings()
            return tuple(Copy(**{key: row[key] for key in Copy.__dataclass_fields__}) for row in rows)


class Publications:
    """Torrents, catalogue items and what `/processed/` serves."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_torrent(self, release: Release, torrent: Torrent) -> None:
        """Record the torrent of a release, replacing what stood there (a re-issue changes only its web seeds)."""
        self._put(schema.torrent, release, {**vars(torrent), "web_seeds": list(torrent.web_seeds)})

    def torrent(self, release: Release) -> Torrent | None:
        """Return the torrent of a release."""
        row = self._row(schema.torrent, release)
        if row is None:
            return None
        values: dict[str, Any] = {key: row[key] for key in Torrent.__dataclass_fields__}
        values["web_seeds"] = tuple(row["web_seeds"])
        return Torrent(**values)

    def record_item(self, release: Release, item: Mapping[str, Any]) -> None:
        """Record the STAC item of a release."""
        self._put(schema.stac_item, release, {"item": dict(item)})

    def item(self, release: Release) -> dict[str, Any] | None:
        """Return the STAC item of a release."""
        row = self._row(schema.stac_item, release)
        return None if row is None else row["item"]

    def switch_latest(self, address: str, release: Release) -> None:
        """Record that `address` serves the data of `release` from now on."""
        table = schema.latest
        with self._engine.begin() as connection:
            before = connection.execute(select(table.c.release_id).where(table.c.address == address)).scalar()
            connection.execute(delete(table).where(table.c.address == address))
            connection.execute(
                insert(table).values(
                    address=address, release_id=release.id, sha256=release.data.sha256, switched_at=now()
                )
            )
            if before != release.id:
                append(
                    connection,
                    "latest switched",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    address=address,
                    before=before,
                )

    def latest(self) -> dict[str, int]:
        """Return which release each `/processed/` address serves."""
        with self._engine.begin() as connection:
            rows = connection.execute(select(schema.latest.c.address, schema.latest.c.release_id))
            return {row.address: row.release_id for row in rows}

    def _put(self, table: Table, release: Release, values: Sequence[Any] | Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.release_id == release.id))
            connection.execute(insert(table).values(release_id=release.id, **dict(values)))

    def _row(self, table: Table, release: Release) -> RowMapping | None:
        with self._engine.begin() as connection:
            return connection.execute(select(table).where(table.c.release_id == release.id)).mappings().first()
