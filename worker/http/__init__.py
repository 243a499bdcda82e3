"""The worker's HTTP server: probes, metrics, and the endpoints that handlers declare."""
