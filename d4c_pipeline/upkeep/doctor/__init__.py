"""The checks of a deployment that `d4c doctor` runs: the machine, the ledger, stores, archive and definitions.

A check states what it found and how to mend it. It leaves nothing behind but the preflight object of the stores; the
checks of Dagster belong to `orchestration.diagnosis`, the copies of releases to `upkeep.fixity`.
"""
