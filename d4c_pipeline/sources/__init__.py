"""Where data comes from: discover the vintages of a source, observe one cheaply, fetch its native files.

One module per protocol behind the port in `port.py`, plus the safe unpacking of what was fetched. Retaining native
files belongs to the chain and reading them to `readers`; nothing here knows Dagster, the ledger or a store.
"""
