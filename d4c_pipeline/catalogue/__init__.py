"""The catalogue: the STAC item of a release, the one STAC GeoParquet file of all releases, the static STAC tree.

Here belong the documents and their validation. `chain` selects the releases from the ledger; `stores` serves the files.
https://stacspec.org
"""
