"""The local archive: a folder that behaves as InvenioRDM does."""
