"""The ledger: the database that remembers native files, releases, deposits, copies, checks, reviews and every event.

Here belong its schema, its migrations and its queries; every room may read it. Deciding what to do with what it says
belongs to the rooms and the chain. It is SQLite by default and PostgreSQL where several workers share it; DuckDB is
the processing engine and never the ledger, since one writer at a time is its nature.
"""

from d4c_pipeline.ledger.ledger import Ledger

__all__ = ["Ledger"]
