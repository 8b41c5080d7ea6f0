"""Logs as JSON and spans of OpenTelemetry, for the machines that collect them. Numbers belong to `services.metrics`."""
