"""Declarations of datasets at the time of their last plan, so that the catalogue outlives the YAML."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, delete, insert, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import REMEMBERED


class Declarations:
    """Declared datasets in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, dataset: Dataset) -> None:
        """Record the present declaration of a dataset."""
        table = schema.dataset
        declared = dataset.model_dump(mode="json")
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.id == dataset.id))
            connection.execute(insert(table).values(id=dataset.id, declared=declared, updated_at=now()))

    def of(self, dataset: str) -> Dataset | None:
        """Return the last declaration of a dataset, None if no release of it was ever planned."""
        return self.of_many([dataset]).get(dataset)

    def of_many(self, datasets: Iterable[str]) -> dict[str, Dataset]:
        """Return the last declarations of datasets by id; a dataset without a planned release has none."""
        table = schema.dataset
        found: dict[str, Dataset] = {}
        with reading(self._engine) as connection:
            for some in chunked(datasets):
                query = select(table.c.id, table.c.declared).where(table.c.id.in_(some))
                for dataset, declared in connection.execute(query):
                    found[dataset] = Dataset.model_validate(declared, context=REMEMBERED)
        return found

    def all(self) -> tuple[Dataset, ...]:
        """Return every dataset that had a planned release, by id."""
        table = schema.dataset
        with reading(self._engine) as connection:
            declared = connection.execute(select(table.c.declared).order_by(table.c.id)).scalars().all()
        return tuple(Dataset.model_validate(value, context=REMEMBERED) for value in declared)
