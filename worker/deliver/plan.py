"""What a handler would do outside, described instead of done: filled through `Context.plan`, read by `preview`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOTHING = "nothing"


@dataclass(frozen=True)
class Planned:
    """One write that would be made. object: None where it would be made new; changed: field → (before, after)."""

    step: str
    object: str | None
    changed: Mapping[str, tuple[Any, Any]]


@dataclass
class Plan:
    """What one delivery would do: the handler's own word for it, and the writes in their order."""

    action: str = NOTHING
    effects: list[Planned] = field(default_factory=list)
