"""What `hearken dev` and the tests need and production never does: a Postgres of its own, and stand-ins."""
