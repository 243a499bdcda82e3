"""Events that come from no table: ticks of schedules, and requests."""
