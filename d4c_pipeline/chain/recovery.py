"""What a person has done to go on where the archive and the ledger have parted: adopt, forget, begin a draft again.

Each is asked for by a command and ends in a state from which `d4c publish` goes on. What is wrong is found by
`inventory`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from d4c_pipeline.chain.adoption import adopt_published, is_of
from d4c_pipeline.chain.catalogue import rebuild
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.latest import switch
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.vintage import Vintage

# A data file: the release's name, and that of the part where there are several.
_DATA = re.compile(r"(?P<release>.+_v\d+\.\d+\.\d+(?:-[0-9a-z.]+)?)(?:_[^/]+)?\.parquet")


@dataclass(frozen=True)
class Adopted:
    """A release that was taken over from the archive."""

    release: str
    doi: str


def adopt(deployment: Deployment, dataset: Dataset) -> tuple[Adopted, ...]:
    """Take over every release of a dataset that the archive has published and the ledger lacks; then serve the newest.

    Raises what `adopt_published` raises.
    """
    found = [
        vintage
        for listed in deployment.archive.listed()
        for vintage in _vintages(listed.names)
        if is_of(listed, dataset, vintage)
    ]
    adopted: list[Release] = []
    for vintage in sorted(set(found)):
        with deployment.working_on(dataset, vintage) as lease:
            new = adopt_published(deployment, dataset, vintage, lease)
        adopted += new
        if new:
            switch(deployment, dataset, vintage)
    if adopted:
        rebuild(deployment, [dataset])
    return tuple(Adopted(one.name, str((known := deployment.ledger.deposits.of(one)) and known.doi)) for one in adopted)


def _vintages(names: frozenset[str]) -> set[Vintage]:
    found: set[Vintage] = set()
    for name in filter(None, map(_DATA.fullmatch, names)):
        with suppress(PermanentError):  # another file whose name ends so
            found.add(ReleaseName.parse(name["release"]).vintage)
    return found
