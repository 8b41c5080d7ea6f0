"""Statistics Canada's own conventions: full tables (`wds`), census files (`census`), DGUIDs (`dguids`).

Here belongs what is true of that publisher's files alone; what is true of any table belongs to `columns`, `casting` and
`narrow`. `build` calls `layout.prepare` on what a reader hands out, before SQL; `prepare` puts `dguids.Step` onto
the batches after SQL, before their columns are named.
"""
