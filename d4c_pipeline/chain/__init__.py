"""The ten steps from source to catalogue, free of any framework: one module per step, named after its asset.

Here belong the order in which a step calls the rooms, the facts that it records in the ledger, and the files that it
leaves in staging. The work of a room belongs to the room; the presentation of a step in Dagster belongs to
`orchestration`. Every step can be run again at any moment: it reads the state of the ledger and of the other side
first, and does only what is missing.
"""
