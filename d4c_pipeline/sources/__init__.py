"""Sources of data: discover the vintages of a source, observe a vintage without fetching it, fetch its native files.

There is one module per protocol, behind the port in `port.py`. Retaining native files belongs to the chain, reading
them to `readers`. No module here knows Dagster, the ledger or a store.
"""
