"""Sensors: observing sources and requesting runs for what changed."""
