"""Declarations: what handlers, schedules, endpoints and systems say about themselves; nothing here uses a database."""
