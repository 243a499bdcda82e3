"""Postgres: connections, pools, advisory locks, and what is known of the server."""
