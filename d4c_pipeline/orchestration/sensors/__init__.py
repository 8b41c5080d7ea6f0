"""Sensors: discovery and observation of sources, and the automation conditions that request runs."""
