"""The ten steps from source to catalogue, free of any framework: one module per step, named after its asset.

Here belongs what joins the rooms: which room is asked in what order, what the ledger is told, what a step leaves in
staging. How a room does its part belongs to the room, and how Dagster sees a step belongs to `orchestration`. Every
step can be run again at any moment: it looks at the ledger and at the other side first and does what is missing.
"""
