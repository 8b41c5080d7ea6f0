"""Checks of a finished build: verdicts on its files, without knowing who asks or what is done about a failure.

The way in is `run.run_checks`. Recording verdicts and refusing to publish belong to `chain`, showing them to
`orchestration`.
"""
