"""Noticing new source data: vintages, families, and the failures that stay.

Fetching a vintage belongs to `chain.raw`.
"""
