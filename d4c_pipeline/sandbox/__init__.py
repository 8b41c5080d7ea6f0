"""Runs work on foreign bytes in a separate process, with limits and without credentials: a crash costs one step.

A run uses `call`; it talks to a `server`, which forks itself for each piece of work (`inside`) and limits its time and
memory. The work itself belongs to the caller; `reach` limits what the process can access.
"""
