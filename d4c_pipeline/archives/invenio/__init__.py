"""InvenioRDM and Zenodo."""
