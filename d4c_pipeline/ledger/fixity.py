"""Expected copies and the results of their audits. The event log keeps every damage and every repair.

The table `fixity` has the newest result for each copy; every change of state is also an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, and_, bindparam, delete, func, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.fixity import WEB, CopyKind, CopyState, ExpectedCopy, KnownCopy, Verification
from d4c_pipeline.model.release import DepositState, ReleaseState

Key = tuple[str, str, str]


class Fixity:
    """Fixity of copies in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def expected(self, primary: str) -> tuple[ExpectedCopy, ...]:
        """Return every expected copy of published releases and retained files; `primary` is the store of native files.

        Copies of a planned release are not expected yet, because a step may still be writing them.
        """
        with reading(self._engine) as connection:
            return (
                *_in_stores(connection),
                *_latest(connection),
                *_natives(connection, primary),
                *_in_archives(connection),
                *_web_seeds(connection),
            )

    def is_expected(self, copy: ExpectedCopy) -> bool:
        """Return whether a copy in a store is still expected, with these bytes."""
        if copy.kind is CopyKind.NATIVE:
            table = schema.native_file
            query = select(table.c.id).where(table.c.address == copy.address, table.c.sha256 == copy.sha256)
        elif copy.kind is CopyKind.LATEST:
            table = schema.latest
            query = select(table.c.release_id).where(table.c.address == copy.address, table.c.sha256 == copy.sha256)
        else:
            table = schema.copy
            query = select(table.c.release_id).where(
                table.c.release_id == copy.release_id,
                table.c.artifact == copy.name,
                table.c.store == copy.place,
                table.c.address == copy.address,
                table.c.sha256 == copy.sha256,
            )
        with reading(self._engine) as connection:
            return connection.execute(query.limit(1)).first() is not None

    def known(self) -> dict[Key, KnownCopy]:
        """Return the last result of each audited copy, by its key."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(schema.fixity)).mappings()
            return {(row["kind"], row["place"], row["address"]): _known(row) for row in rows}

    def in_archive(self, release_id: int) -> tuple[KnownCopy, ...]:
        """Return the last results of a release's copies in its archive; none before the first audit."""
        table = schema.fixity
        query = select(table).where(table.c.kind == CopyKind.ARCHIVE.value, table.c.release_id == release_id)
        with reading(self._engine) as connection:
            return tuple(map(_known, connection.execute(query.order_by(table.c.address)).mappings()))

    def bytes_read_since(self, moment: datetime) -> int:
        """Return the number of bytes that audits read since `moment`."""
        table = schema.fixity
        with reading(self._engine) as connection:
            found = connection.execute(select(func.sum(table.c.read_bytes)).where(table.c.read_at >= moment)).scalar()
        return int(found or 0)

    def record(self, verifications: Sequence[Verification], *, restored_from: str | None = None) -> None:
        """Record results, with an event for each copy whose state changed.

        `restored_from`: the place that these copies were restored from, for the event.
        """
        table = schema.fixity
        with self._engine.begin() as connection:
            before = _before(connection, verifications)
            for verification in verifications:
                _append_change(connection, verification, before.get(verification.copy.key), restored_from)
            if verifications:
                connection.execute(delete(table).where(_THIS), [_key(verification) for verification in verifications])
                connection.execute(
                    insert(table),
                    [_row(verification, before.get(verification.copy.key)) for verification in verifications],
                )
            for verification in verifications:
                _mark_copy(connection, verification)

    def record_quarantine(self, copy: ExpectedCopy, found: str, aside: str) -> None:
        """Record that damaged bytes are about to be moved to `aside` in their store; repeating it adds no event."""
        table = schema.fixity
        with self._engine.begin() as connection:
            here = and_(table.c.kind == copy.kind.value, table.c.place == copy.place, table.c.address == copy.address)
            changed = connection.execute(
                update(table).where(here, table.c.quarantine.is_distinct_from(aside)).values(quarantine=aside)
            ).rowcount
            if changed:
                _append(connection, "copy quarantined", copy, found=found, quarantine=aside)

    def forget(self, keys: Sequence[Key]) -> None:
        """Forget copies that are no longer expected, for example pruned copies; their events stay."""
        if keys:
            with self._engine.begin() as connection:
                connection.execute(
                    delete(schema.fixity).where(_THIS),
                    [{"at_kind": kind, "at_place": place, "at_address": address} for kind, place, address in keys],
                )


_THIS = and_(
    schema.fixity.c.kind == bindparam("at_kind"),
    schema.fixity.c.place == bindparam("at_place"),
    schema.fixity.c.address == bindparam("at_address"),
)


def _key(verification: Verification) -> dict[str, str]:
    kind, place, address = verification.copy.key
    return {"at_kind": kind, "at_place": place, "at_address": address}


def _row(verification: Verification, before: KnownCopy | None) -> dict[str, object]:
    moment = now()
    copy = verification.copy
    if verification.read:
        read_at, read_bytes, etag = moment, verification.cost, verification.etag
    elif before is None:
        # Until an audit reads the copy, the verification after its upload counts, with the present ETag.
        read_at, read_bytes, etag = copy.verified_at, 0, verification.etag
    else:
        read_at, read_bytes, etag = before.read_at, before.read_bytes, before.etag
    return {
        "kind": copy.kind.value,
        "place": copy.place,
        "address": copy.address,
        "dataset": copy.dataset,
        "vintage": copy.vintage,
        "release_id": copy.release_id,
        "state": verification.state.value,
        "detail": verification.detail,
        "looked_at": moment,
        "read_at": read_at,
        "read_bytes": read_bytes,
        "etag": etag,
        "quarantine": None if before is None else before.quarantine,
    }


def _append_change(
    connection: Connection, verification: Verification, before: KnownCopy | None, restored_from: str | None
) -> None:
    was = CopyState.INTACT if before is None else before.state
    if verification.state is was:
        return
    if verification.state is not CopyState.INTACT:
        kind = f"copy {verification.state.value}"
    else:
        kind = "copy restored" if restored_from is not None else "copy intact again"
    source = {"restored_from": restored_from} if restored_from is not None else {}
    _append(
        connection,
        kind,
        verification.copy,
        expected_sha256=verification.copy.sha256,
        found=verification.detail,
        before=was.value,
        **source,
    )


def _append(connection: Connection, kind: str, copy: ExpectedCopy, **detail: str) -> None:
    append(
        connection,
        kind,
        dataset=copy.dataset,
        vintage=copy.vintage,
        release_id=copy.release_id,
        copy=copy.kind.value,
        place=copy.place,
        address=copy.address,
        **detail,
    )


def _mark_copy(connection: Connection, verification: Verification) -> None:
    """Update the row of a copy in a store to the same state."""
    lost = verification.state.is_lost
    if verification.copy.kind is not CopyKind.RELEASE or not (verification.read or lost):
        return
    table = schema.copy
    connection.execute(
        update(table)
        .where(
            table.c.release_id == verification.copy.release_id,
            table.c.artifact == verification.copy.name,
            table.c.store == verification.copy.place,
        )
        .values(intact=not lost, verified_at=now())
    )


def _before(connection: Connection, verifications: Sequence[Verification]) -> dict[Key, KnownCopy]:
    table = schema.fixity
    return {
        (row["kind"], row["place"], row["address"]): _known(row)
        for addresses in chunked(dict.fromkeys(verification.copy.address for verification in verifications))
        for row in connection.execute(select(table).where(table.c.address.in_(addresses))).mappings()
    }


def _known(row: RowMapping) -> KnownCopy:
    return KnownCopy(
        state=CopyState(row["state"]),
        detail=row["detail"],
        looked_at=row["looked_at"],
        read_at=row["read_at"],
        read_bytes=row["read_bytes"],
        etag=row["etag"],
        quarantine=row["quarantine"],
    )


def _in_stores(connection: Connection) -> Iterator[ExpectedCopy]:
    copy, release = schema.copy, schema.release
    query = (
        select(copy, release.c.dataset, release.c.vintage)
        .join(release, release.c.id == copy.c.release_id)
        .where(release.c.state == ReleaseState.PUBLISHED.value)
        .order_by(copy.c.release_id, copy.c.artifact, copy.c.store)
    )
    for row in connection.execute(query).mappings():
        yield ExpectedCopy(
            CopyKind.RELEASE, row["store"], row["address"], row["dataset"], row["vintage"], row["release_id"],
            row["artifact"], row["size"], row["sha256"],
            verified_at=row["verified_at"] if row["intact"] else None,
        )  # fmt: skip


def _latest(connection: Connection) -> Iterator[ExpectedCopy]:
    """Yield the files of the last switch at `/processed/` addresses, in each store that holds the dataset.

    The index of partitioned data is not an artifact of the release; each switch compares it instead.
    """
    latest, release, artifact, copy = schema.latest, schema.release, schema.artifact, schema.copy
    held = (
        select(release.c.dataset, copy.c.store)
        .select_from(copy.join(release, release.c.id == copy.c.release_id))
        .distinct()
        .order_by(release.c.dataset, copy.c.store)
    )
    stores: dict[str, list[str]] = {}
    for row in connection.execute(held):
        stores.setdefault(row.dataset, []).append(row.store)
    query = (
        select(latest, artifact.c.name, artifact.c.size, release.c.dataset, release.c.vintage)
        .join(release, release.c.id == latest.c.release_id)
        .join(artifact, and_(artifact.c.release_id == release.c.id, artifact.c.sha256 == latest.c.sha256))
        .order_by(latest.c.address, artifact.c.name)
    )
    # Two artifacts of a release may have the same bytes, for example two parts without rows.
    for row in {row["address"]: row for row in connection.execute(query).mappings()}.values():
        for store in stores.get(row["dataset"], ()):
            yield ExpectedCopy(
                CopyKind.LATEST, store, row["address"], row["dataset"], row["vintage"], row["release_id"], row["name"],
                row["size"], row["sha256"], since=row["switched_at"],
            )  # fmt: skip


def _natives(connection: Connection, primary: str) -> Iterator[ExpectedCopy]:
    table = schema.native_file
    seen: set[str] = set()
    for row in connection.execute(select(table).order_by(table.c.id)).mappings():
        # Several addresses of a source may serve the same file.
        if row["address"] not in seen:
            seen.add(row["address"])
            yield ExpectedCopy(
                CopyKind.NATIVE, primary, row["address"], row["dataset"], row["vintage"], None, row["name"],
                row["size"], row["sha256"], verified_at=row["fetched_at"],
            )  # fmt: skip


def _in_archives(connection: Connection) -> Iterator[ExpectedCopy]:
    deposit, release, artifact = schema.deposit, schema.release, schema.artifact
    query = (
        select(artifact, deposit.c.archive, deposit.c.record_id, release.c.dataset, release.c.vintage)
        .join(release, release.c.id == artifact.c.release_id)
        .join(deposit, deposit.c.release_id == release.c.id)
        .where(release.c.state == ReleaseState.PUBLISHED.value, deposit.c.state == DepositState.PUBLISHED.value)
        .order_by(release.c.id, artifact.c.name)
    )
    for row in connection.execute(query).mappings():
        yield ExpectedCopy(
            CopyKind.ARCHIVE, row["archive"], f"{row['record_id']}/{row['name']}", row["dataset"], row["vintage"],
            row["release_id"], row["name"], row["size"], row["sha256"], md5=row["md5"],
        )  # fmt: skip


def _web_seeds(connection: Connection) -> Iterator[ExpectedCopy]:
    torrent, release, artifact = schema.torrent, schema.release, schema.artifact
    query = (
        select(torrent.c.web_seeds, artifact, release.c.dataset, release.c.vintage)
        .join(release, release.c.id == torrent.c.release_id)
        .join(artifact, and_(artifact.c.release_id == torrent.c.release_id, artifact.c.name == torrent.c.artifact))
        .where(release.c.state == ReleaseState.PUBLISHED.value)
        .order_by(release.c.id, artifact.c.name)
    )
    for row in connection.execute(query).mappings():
        for url in row["web_seeds"]:
            yield ExpectedCopy(
                CopyKind.WEB_SEED, WEB, url, row["dataset"], row["vintage"], row["release_id"], row["name"],
                row["size"], row["sha256"],
            )  # fmt: skip
