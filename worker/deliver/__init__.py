"""Delivery: claim a cursor, read a batch, call the handler, settle the outcome of each event."""
