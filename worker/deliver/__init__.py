"""Delivery: claim a cursor, read a batch, call the handler, settle what became of each event."""
