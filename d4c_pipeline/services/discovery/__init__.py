"""The query layer of protocols that find releases: the search, STAC API, OGC API Records.

`entries` makes the tables of the index and `words` their texts; `selection` finds rows and `paging` divides them into
pages; `parameters` and `conditions` read requests; `suggesting` completes words; `documents` restores items,
collections and facts; `answers` makes responses, `openapi` descriptions. Each protocol has its own addresses and forms.
"""
