"""Drift: how a system reports where source and destination disagree. Run by `operate.reconcile`.

A system declares one async generator that compares everything, and one function that looks at a single key; neither
writes anything. Drift is fixed by the system's own handler: its key is sent through the log, as a snapshot event.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.deliver.context import Context


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One disagreement.

    kind      what is wrong, from the system's own list
    key       the row's key, also of a row that is gone; None where the outside thing does not say
    object    the object outside, such as a product's id; None where there is none
    changed   field → (as it is outside, as it should be)
    text      what a person should know or do, where the fields do not say it
    mendable  whether the handler fixes it when it gets the key; otherwise a person must
    known     for a row that is gone, the last known values of its columns, passed to the handler
    """

    kind: str
    key: str | None
    object: str | None = None
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    text: str | None = None
    mendable: bool = True
    known: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where source and destination of one key stand now; None where there is nothing. Values are plain, for JSON."""

    key: str
    source: Mapping[str, Any] | None
    destination: Mapping[str, Any] | None
    drift: tuple[Drift, ...]


Find = Callable[["Context"], AsyncGenerator[Drift, None]]
Look = Callable[[str, "Context"], Awaitable[Standing]]


@dataclass(frozen=True)
class Reconciler:
    """A declared reconciliation: the handler that fixes drift, how all drift is found, how one key is looked at.

    Both functions are given a Context of that handler's name, to read with.
    """

    name: str
    handler: str
    find: Find
    look: Look
