"""Where releases lie and how readers get them: stores, hashes, torrents, web seeds, the file server.

Nothing here knows the ledger, an archive's API or Dagster: `chain` calls these functions and records what they return.
What an address looks like belongs to `model.addresses`; what is in a file belongs to `processing` and `catalogue`.
"""
