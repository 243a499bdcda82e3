"""What `hearken dev` and the tests need and production never does: a Postgres and a Stripe of one's own."""
