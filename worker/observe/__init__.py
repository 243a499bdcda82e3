"""Observing: status, health, gauges and the canary. Nothing here changes what is delivered."""
