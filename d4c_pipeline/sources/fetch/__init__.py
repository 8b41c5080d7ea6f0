"""Fetching files over HTTP: connections, resuming, and judging the bytes that arrive.

Protocols of services belong to the modules of `sources`.
"""
