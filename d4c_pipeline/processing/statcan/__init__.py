"""Statistics Canada's own conventions: full tables (`wds`), census files (`census`), DGUIDs (`dguids`).

Here belong the rules of this publisher's files only; rules of any table belong to `tables`. `build` calls
`layout.prepare` on the rows of a reader, before SQL; `prepare` applies `dguids.Step` to the batches after SQL, before
their columns are named.
"""
