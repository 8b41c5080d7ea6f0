"""Archives: long-term repositories that mint DOIs, and the way of a release into one of them.

Here belong the port that every archive answers, the local archive (the embedded default), the metadata of a record
and the deposit's state machine over the ledger. When a release goes to an archive is the chain's decision.
"""
