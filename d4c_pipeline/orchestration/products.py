"""Products, one per chain of assets: a dataset partitioned by vintages, or a family partitioned by members.

`watch.families` makes a dataset of a member; `assets.py` defines the assets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from d4c_pipeline.chain.run import FIRST_STEP, Unit
from d4c_pipeline.model.dataset import Dataset, Noticing
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.frequency import duration
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.watch import families, noticing
from d4c_pipeline.watch.noticing import Observed
from d4c_pipeline.workspace.deployment import Deployment

SOURCE = "source"
"""The name of the observed asset upstream of `raw`: the source."""


@dataclass(frozen=True)
class Product:
    """One chain of assets. `sample` is a dataset of its form, `partitions_name` is None if partitions are fixed.

    `unit` resolves a partition key for a step. `discover` lists the partitions at the source, `observe` checks known
    partitions for changes, starting at a cursor. `new_partitions_wait`: an operator publishes a new partition first.
    """

    id: str
    title: Bilingual
    sample: Dataset
    noticing: Noticing
    partitions: dg.PartitionsDefinition
    partitions_name: str | None
    unit: Callable[[Deployment, str, str], Unit]
    discover: Callable[[Deployment], Sequence[str]]
    observe: Callable[[Deployment, Collection[str], str | None], Observed]
    new_partitions_wait: bool = False
    partition_option: str = "--vintage"

    def command(self, partition: str) -> str:
        """Return the command that runs the chain of a partition again."""
        return f"d4c publish {self.id} {self.partition_option} {partition}"


def of_dataset(dataset: Dataset) -> Product:
    """The product of a dataset, partitioned by its fixed or discovered vintages."""
    fixed = dataset.fixed_vintages
    name = discovered_partitions_name(dataset) if fixed is None else None

    def unit(deployment: Deployment, key: str, step: str) -> Unit:
        vintage = dataset.vintage(key)
        if step != FIRST_STEP:  # an earlier vintage may hold the same content
            vintage = deployment.ledger.natives.held_by(dataset.id, vintage)
        return Unit(Partition(dataset.id, key), dataset, vintage)

    return Product(
        id=dataset.id,
        title=dataset.title,
        sample=dataset,
        noticing=dataset.noticing,
        partitions=dg.DynamicPartitionsDefinition(name=name)
        if fixed is None
        else dg.StaticPartitionsDefinition([str(vintage) for vintage in fixed]),
        partitions_name=name,
        unit=unit,
        discover=lambda deployment: [str(vintage) for vintage in noticing.discover(deployment, dataset)],
        observe=lambda deployment, known, cursor: noticing.observe(deployment, dataset, known, cursor),
    )


def of_family(family: Family) -> Product:
    """The product of a family, partitioned by its discovered members, each in its present vintage."""
    name = f"{family.id}_members"

    def unit(deployment: Deployment, key: str, step: str) -> Unit:
        dataset = families.member(deployment, family, key)
        find = families.vintage_at_source if step == FIRST_STEP else families.vintage_in_hand
        vintage = find(deployment, dataset)
        return Unit(Partition(family.id, key), dataset, vintage, listed_as=str(vintage))

    return Product(
        id=family.id,
        title=family.title,
        sample=family.sample,
        noticing=family.noticing,
        partitions=dg.DynamicPartitionsDefinition(name=name),
        partitions_name=name,
        unit=unit,
        discover=lambda deployment: families.discover(deployment, family),
        observe=lambda deployment, known, cursor: families.observe(deployment, family, known, cursor),
        new_partitions_wait=family.noticing.new_members == "wait",
        partition_option="--member",
    )


def product_of_declared(declared: Dataset | Family) -> Product:
    """The product of a definition."""
    return of_family(declared) if isinstance(declared, Family) else of_dataset(declared)


def product_of(dataset: Dataset, vintage: Vintage, families: Iterable[Family]) -> tuple[Product, Unit]:
    """The product that publishes `dataset` (its family among `families`, or itself) and the unit of `vintage`."""
    for family in families:
        if (key := family.key_of(dataset.id)) is not None:
            return of_family(family), Unit(Partition(family.id, key), dataset, vintage, listed_as=str(vintage))
    return of_dataset(dataset), Unit.of(dataset, vintage)


def discovered_partitions_name(dataset: Dataset) -> str:
    """The name of the dynamic partitions of a dataset's discovered vintages."""
    return f"{dataset.id}_vintages"


def fetch_pool(dataset: Dataset) -> str:
    """The pool of the fetches from the dataset's host, `fetch:<host>`; `fetch` for a source without one, a folder.

    Of a source with several hosts the first declared host counts. `per_host` limits the requests inside a fetch.
    """
    return f"fetch:{host}" if (host := dataset.source.host) else "fetch"


def source_words(dataset: Dataset) -> str:
    """The source of a dataset as text: its home page, else the kind of source."""
    return dataset.source.homepage or dataset.source.kind


_DAYS = {"D": 1, "W": 7, "M": 31, "Y": 366}


def freshness_of(dataset: Dataset) -> dg.FreshnessPolicy | None:
    """The freshness policy of `latest` by `publication.frequency`: a warning after one period, a failure after two.

    None for a dataset without a rhythm, whose source promises no day.
    """
    rhythm = duration(dataset.publication.frequency) if dataset.publication.frequency else None
    if rhythm is None:
        return None
    period = timedelta(days=rhythm[0] * _DAYS[rhythm[1]])
    return dg.FreshnessPolicy.time_window(fail_window=2 * period, warn_window=period)


def owners_of(dataset: Dataset) -> list[str]:
    """The owners of a dataset's assets: addresses, and teams as `team:<name>`."""
    return list(dataset.publication.owners)
