"""The tools of the MCP server: what a model may ask of the published releases, and the SQL that it may write.

`answers` makes the answer of each tool, `arguments` states and checks what each takes, `confined` and `checked_sql` run
SQL over the files of one release, `server` puts all of it behind the SDK. Only `server` imports the SDK, at the first
request. Addresses and hosts belong to `protocols.mcp`.
"""
