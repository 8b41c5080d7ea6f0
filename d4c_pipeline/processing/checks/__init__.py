"""Checks of a finished build: verdicts on its files.

The entry point is `run.run_checks`. Recording verdicts and refusing to publish belong to `chain`, showing them to
`orchestration`.
"""
