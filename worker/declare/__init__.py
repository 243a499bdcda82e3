"""Declarations: what handlers, schedules, endpoints and systems say of themselves; nothing here asks a database."""
