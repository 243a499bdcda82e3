"""What a check of the doctor has found: one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What cannot be looked at is not fine either.
FindingState = Literal["ok", "problem", "unknown"]


@dataclass(frozen=True)
class Finding:
    """About `name`: what is fine, or what is wrong and what to do. No secret and no row's values."""

    name: str
    state: FindingState
    text: str


def fine(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", text)


def wrong(name: str, text: str) -> Finding:
    """Something is to be done; the text ends with what."""
    return Finding(name, "problem", text)


def unknown(name: str, text: str) -> Finding:
    """It could not be looked at."""
    return Finding(name, "unknown", text)


def judged(name: str, text: str, problems: list[str]) -> Finding:
    """The problems, or `text` when there are none."""
    return wrong(name, "; ".join(problems)) if problems else fine(name, text)
