"""What readers query: the STAC item of a release, the one STAC GeoParquet of all releases, the static STAC tree.

Here belong the documents and how they are checked; which releases go into them is read from the ledger by `chain`,
and where they are served is decided by `stores`. The concept is explained at https://stacspec.org.
"""
