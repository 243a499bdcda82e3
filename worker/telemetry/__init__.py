"""Telemetry: logs, metrics, and how errors and spans of time are written in one line."""
