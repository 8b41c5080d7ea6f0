"""The ledger: the database of native files, releases, deposits, copies, checks, reviews and events.

Its schema, migrations and queries belong here; every room may read it. Decisions belong to the rooms and the chain.
The ledger is SQLite by default, and PostgreSQL where several workers share it. DuckDB is the processing engine and not
the ledger, because it allows one writing process at a time.
"""

from d4c_pipeline.ledger.ledger import Ledger

__all__ = ["Ledger"]
