"""Geometry in memory: projection, repair, curves, rings, order on a Hilbert curve.

Reading geometry from files belongs to `readers`.
"""
