"""The catalogue: the STAC item of a release, the STAC GeoParquet file of all releases, the static STAC tree.

The documents and their validation belong here. `chain` selects the releases from the ledger; `stores` keeps the files.
https://stacspec.org
"""
