"""The local archive: a folder that behaves like InvenioRDM."""
