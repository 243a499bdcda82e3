"""Real parts that the tests share: a Postgres, a network that can fail."""
