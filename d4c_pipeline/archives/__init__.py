"""Archives: long-term repositories that mint DOIs, and the deposit of a release in one of them.

This room holds the port of archives, its implementations (a local folder, the embedded default; InvenioRDM; DataCite)
and the deposit's state machine over the ledger. The chain decides when a release is deposited.
"""
