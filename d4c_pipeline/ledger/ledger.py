"""The front door of the ledger: one object, its queries grouped by noun."""

from __future__ import annotations

from pathlib import Path

from d4c_pipeline.ledger.active_runs import ActiveRuns
from d4c_pipeline.ledger.alerts import Alerts
from d4c_pipeline.ledger.announcements import Announcements
from d4c_pipeline.ledger.backfills import Backfills
from d4c_pipeline.ledger.builds import Builds
from d4c_pipeline.ledger.catalogue import CatalogueState
from d4c_pipeline.ledger.database import open_engine
from d4c_pipeline.ledger.declarations import Declarations
from d4c_pipeline.ledger.events import Events
from d4c_pipeline.ledger.failures import Failures
from d4c_pipeline.ledger.fixity import Fixity
from d4c_pipeline.ledger.judgements import Judgements
from d4c_pipeline.ledger.leases import Leases
from d4c_pipeline.ledger.metrics import Metrics
from d4c_pipeline.ledger.natives import Natives
from d4c_pipeline.ledger.noticing import Listings, Members, Observations
from d4c_pipeline.ledger.page_marks import PageMarks
from d4c_pipeline.ledger.pauses import Pauses
from d4c_pipeline.ledger.placements import Placements
from d4c_pipeline.ledger.pruning import Pruning
from d4c_pipeline.ledger.publications import Copies, Deposits, Publications
from d4c_pipeline.ledger.releases import Releases
from d4c_pipeline.ledger.submissions import Submissions
from d4c_pipeline.ledger.torrents import Torrents
from d4c_pipeline.ledger.vocabularies import Vocabularies
from d4c_pipeline.ledger.withdrawals import Withdrawals

LEDGER_NAME = "ledger.sqlite"
"""The file of the embedded ledger in a home."""


def embedded_url(home: Path) -> str:
    """Return the address of the embedded ledger, an SQLite file in `home`."""
    return f"sqlite:///{home / LEDGER_NAME}"


class Ledger:
    """The ledger. Every method is a transaction of its own; threads may share the object."""

    def __init__(self, url: str) -> None:
        """Open the ledger at an SQLAlchemy URL, creating or upgrading its schema (errors: see `open_engine`)."""
        self._engine = open_engine(url)
        self.declarations = Declarations(self._engine)
        self.natives = Natives(self._engine)
        self.builds = Builds(self._engine)
        self.releases = Releases(self._engine)
        self.withdrawals = Withdrawals(self._engine)
        self.deposits = Deposits(self._engine)
        self.copies = Copies(self._engine)
        self.placements = Placements(self._engine)
        self.fixity = Fixity(self._engine)
        self.pruning = Pruning(self._engine)
        self.publications = Publications(self._engine)
        self.torrents = Torrents(self._engine)
        self.catalogue = CatalogueState(self._engine)
        self.announcements = Announcements(self._engine)
        self.judgements = Judgements(self._engine)
        self.page_marks = PageMarks(self._engine)
        self.observations = Observations(self._engine)
        self.listings = Listings(self._engine)
        self.pauses = Pauses(self._engine)
        self.members = Members(self._engine)
        self.failures = Failures(self._engine)
        self.leases = Leases(self._engine)
        self.active_runs = ActiveRuns(self._engine, self.leases)
        self.backfills = Backfills(self._engine)
        self.submissions = Submissions(self._engine)
        self.vocabularies = Vocabularies(self._engine)
        self.alerts = Alerts(self._engine)
        self.events = Events(self._engine)
        self.metrics = Metrics(self._engine)

    @classmethod
    def in_folder(cls, home: Path) -> Ledger:
        """Open the embedded ledger, an SQLite file in `home`."""
        return cls(embedded_url(home))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
