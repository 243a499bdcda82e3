"""What a person on call does: replay, backfill, reconcile, retry, pause. Each leaves a trace in `audit`."""
