"""Fetching files over HTTP: connections, resumption, and checks of the bytes that arrive.

Protocols of services belong to the modules of `sources`.
"""
