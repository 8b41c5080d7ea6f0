"""Retained native files, and the newest delivery of each vintage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import Engine, delete, func, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import chunked, reading, upsert
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.described import Described
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage


class Natives:
    """Native files in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, dataset: str, vintage: Vintage, files: Sequence[NativeFile], licence: str) -> None:
        """Record `files` (retained, with their addresses) as the newest delivery of `vintage`.

        A delivery has a number, one higher than the last. The number alone orders deliveries, because clocks are set
        back and differ between machines.
        """
        table = schema.native_file
        moment = now()
        with self._engine.begin() as connection:
            of_vintage = (table.c.dataset == dataset) & (table.c.vintage == str(vintage))
            last = connection.execute(select(func.max(table.c.delivery)).where(of_vintage)).scalar()
            delivery = (last or 0) + 1
            for file in files:
                here = of_vintage & (table.c.url == file.url) & (table.c.sha256 == file.sha256)
                known = connection.execute(
                    update(table)
                    .where(here)
                    .values(
                        delivery=delivery,
                        seen_at=moment,
                        etag=file.etag,
                        last_modified=file.last_modified,
                        address=file.address,
                    )
                ).rowcount
                if not known:
                    connection.execute(
                        insert(table).values(
                            dataset=dataset,
                            vintage=str(vintage),
                            licence=licence,
                            delivery=delivery,
                            fetched_at=moment,
                            seen_at=moment,
                            **vars(file),
                        )
                    )
                    append(
                        connection,
                        "native file retained",
                        dataset=dataset,
                        vintage=str(vintage),
                        name=file.name,
                        sha256=file.sha256,
                        size=file.size,
                    )

    def describe(self, dataset: str, vintage: Vintage, described: Described) -> None:
        """Record the source's description of a vintage, replacing the previous one."""
        row = {"dataset": dataset, "vintage": str(vintage), "said": asdict(described), "said_at": now()}
        with self._engine.begin() as connection:
            upsert(connection, schema.source_description, [row])

    def description(self, dataset: str, vintage: Vintage) -> Described | None:
        """Return the source's description at the last fetch of a vintage, None if it had none."""
        table = schema.source_description
        with reading(self._engine) as connection:
            found = connection.execute(
                select(table.c.said).where(table.c.dataset == dataset, table.c.vintage == str(vintage))
            ).scalar()
        if found is None:
            return None
        title, description, keywords = found["title"], found["description"], found["keywords"]
        return Described(
            (title[0], title[1]), (description[0], description[1]), (tuple(keywords[0]), tuple(keywords[1]))
        )

    def current(self, dataset: str, vintage: Vintage, urls: Sequence[str] | None = None) -> tuple[NativeFile, ...]:
        """Return the newest file of each address in `urls`, in their order; by default the last delivery by address."""
        table = schema.native_file
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table)
                .where(table.c.dataset == dataset, table.c.vintage == str(vintage))
                .order_by(table.c.delivery, table.c.id)
            ).mappings()
            newest = {row["url"]: row for row in rows}
        if urls is None:
            last = max((row["delivery"] for row in newest.values()), default=None)
            wanted = sorted(url for url, row in newest.items() if row["delivery"] == last)
        else:
            wanted = [url for url in urls if url in newest]
        return tuple(NativeFile(**{key: newest[url][key] for key in NativeFile.__dataclass_fields__}) for url in wanted)

    def same(self, sha256s: Collection[str], urls: Collection[str]) -> tuple[tuple[str, str, NativeFile], ...]:
        """Return dataset, vintage and file of retained files with one of the checksums or of the addresses."""
        table = schema.native_file
        found: dict[int, tuple[str, str, NativeFile]] = {}
        with reading(self._engine) as connection:
            for column, values in ((table.c.sha256, sha256s), (table.c.url, urls)):
                for some in chunked(values):
                    for row in connection.execute(select(table).where(column.in_(some))).mappings():
                        file = NativeFile(**{key: row[key] for key in NativeFile.__dataclass_fields__})
                        found[row["id"]] = (row["dataset"], row["vintage"], file)
        return tuple(found[number] for number in sorted(found))

    def vintages(self, dataset: str) -> tuple[Vintage, ...]:
        """Return the vintages of a dataset with retained native files, oldest first."""
        table = schema.native_file
        with reading(self._engine) as connection:
            found = connection.execute(select(table.c.vintage).where(table.c.dataset == dataset).distinct()).scalars()
            return tuple(sorted(Vintage.parse(text) for text in found))

    def record_same(self, dataset: str, vintage: Vintage, same_as: Vintage) -> None:
        """Record that the source serves the content of the vintage `same_as` for `vintage`."""
        row = {"dataset": dataset, "vintage": str(vintage), "same_as": str(same_as), "noted_at": now()}
        with self._engine.begin() as connection:
            upsert(connection, schema.same_vintage, [row])
            append(
                connection, "vintage is the same as another", dataset=dataset, vintage=str(vintage), same=str(same_as)
            )

    def record_own(self, dataset: str, vintage: Vintage) -> None:
        """Record that `vintage` has its own content, which undoes `record_same`."""
        table = schema.same_vintage
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.dataset == dataset, table.c.vintage == str(vintage)))

    def held_by(self, dataset: str, vintage: Vintage) -> Vintage:
        """Return the vintage that holds the content of `vintage`: `same_as` of `record_same`, by default `vintage`."""
        table = schema.same_vintage
        with reading(self._engine) as connection:
            found = connection.execute(
                select(table.c.same_as).where(table.c.dataset == dataset, table.c.vintage == str(vintage))
            ).scalar()
        return vintage if found is None else Vintage.parse(found)
