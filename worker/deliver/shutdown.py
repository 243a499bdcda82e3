"""How a consumer is shut down: first it starts nothing more, then it cancels what still runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Shutdown:
    """`begun`: claim and start nothing more. `cancelling`: end what still runs."""

    def __init__(self) -> None:
        self.begun = False
        self.cancelling = False
        self._on_cancel: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """Start nothing more; let running deliveries finish."""
        self.begun = True

    def cancel(self) -> None:
        """Cancel what still runs."""
        self.begun = self.cancelling = True
        for call in [*self._on_cancel]:
            call()

    @contextmanager
    def calls_on_cancel(self, call: Callable[[], None]) -> Iterator[None]:
        """Call `call` when what runs is to be cancelled, while the block lasts."""
        self._on_cancel.add(call)
        try:
            yield
        finally:
            self._on_cancel.discard(call)
