"""The query layer of the protocols that find releases: search, STAC API, OGC API Records, MCP.

`entries` makes the tables of the index and `words` their texts; `selection` finds rows; `parameters` reads requests;
`paging` resumes them; `documents` reads the catalogue's documents. Each protocol has its own addresses and forms.
"""
