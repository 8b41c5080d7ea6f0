"""Sensors: discovery and observation of sources, and the sensor that publishes their changes."""
