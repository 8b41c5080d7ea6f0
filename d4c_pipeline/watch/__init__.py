"""Noticing new source data: vintages, families, and standing failures.

Fetching a vintage belongs to `chain.raw`.
"""
