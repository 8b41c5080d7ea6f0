"""Archives: long-term repositories that mint DOIs, and the way of a release into one of them.

Here belong the port that every archive answers, the archives behind it (a local folder, the embedded default;
InvenioRDM; DataCite), the metadata of a record and the deposit's state machine over the ledger. When a release goes to
an archive is the chain's decision.
"""
