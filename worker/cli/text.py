"""The texts that commands are given and give: Unicode in, and whatever a row holds out."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

ESCAPING = "hearken.escape"


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises click.UsageError for an argument that is no text in the terminal's encoding: Postgres cannot store it."""
    for place, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"argument {place} is not UTF-8: {argument!a}") from None


def escape_output() -> None:
    """Let standard output and error take every text: what their encoding lacks is escaped as JSON escapes it."""
    codecs.register_error(ESCAPING, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # one whose descriptor is no longer what it was opened on stays as it is
                stream.reconfigure(errors=ESCAPING)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)), error.end
