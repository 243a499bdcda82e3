"""Lengths of time for people to read: in status, doctor and runs."""

from __future__ import annotations

SPANS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def span(seconds: float | None) -> str | None:
    """A length of time in its two largest units, such as "2h 5m"."""
    if seconds is None:
        return None
    left = max(0, int(seconds))
    parts = []
    for size, unit in SPANS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "<1s"
