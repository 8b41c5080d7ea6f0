"""The query layer of protocols that find releases, by now of the search.

`entries` makes the tables of the index and `words` their texts; `selection` finds rows; `parameters` reads requests;
`suggesting` completes words; `answers` makes responses. Each protocol has its own addresses and forms.
"""
