"""Points in time as arguments: `2026-11-20`, `2026-11-20T09:30`, or an age: `30m`, `2h`, `7d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """An ISO 8601 time (UTC where it names no zone), or an age before now, as a time in UTC.

    Raises click.BadParameter.
    """
    try:
        return _parse(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a time: write 2026-11-20, 2026-11-20T09:30Z, 30m, 2h, 7d") from None


def _parse(text: str) -> datetime:
    if ago := re.fullmatch(r"(\d+)([smhdw])", text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def check_range(since: datetime | None, until: datetime | None) -> None:
    """Raises click.UsageError when nothing can lie between the two."""
    if since is not None and until is not None and since >= until:
        raise click.UsageError(f"--since {since:%Y-%m-%d %H:%M:%S} is not before --until {until:%Y-%m-%d %H:%M:%S}")
