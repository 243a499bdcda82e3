"""Faults on demand: which requests fail, and how.

The desk asks `Faults.take` once per request. Faults of the *before* group never reach the endpoint; those of
the *after* group have been applied when they strike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

from handlers.stripe.local.errors import Refusal, key_in_use, locked, rate_limited, server_error

FaultKind: TypeAlias = Literal[
    "bad_gateway",  # before: a proxy's 502 with an HTML body
    "cut_body",  # after: headers and half of the body, then the connection closes
    "delay",  # the answer takes `seconds` longer; the idempotency key is in use meanwhile
    "error_500_after",  # after: applied, yet 500 is answered, and remembered under the key
    "error_500_before",  # not applied; 500 is answered, and remembered under the key
    "error_503",  # before: not remembered
    "forbidden",  # before: 403, the key lacks a permission
    "in_use",  # before: 409 idempotency_key_in_use
    "lock_timeout",  # before: 429 (or `status` 409) lock_timeout
    "lost_reply",  # after: the connection closes without an answer
    "rate_limit",  # before: 429, with Retry-After when `retry_after` is given
    "reset",  # before: the connection is reset
    "timeout",  # before, or after when `apply`: no answer until the client leaves
    "unauthorized",  # before: 401, as for a wrong key
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass
class Aim:
    """Which requests to hit: method, a path pattern with `*`, from the nth match on, that many times.

    `times=None` means every further one.
    """

    method: str = "*"
    path: str = "/v1/*"
    nth: int = 1
    times: int | None = 1
    _seen: int = field(default=0, repr=False)

    def hits(self, method: str, path: str) -> bool:
        """Count a request that matches, and say whether its turn has come."""
        if self.method not in ("*", method) or not fnmatchcase(path, self.path):
            return False
        self._seen += 1
        return self._seen >= self.nth

    @property
    def spent(self) -> bool:
        """Say whether it has hit as often as it may."""
        return self.times is not None and self._seen >= self.nth + self.times - 1


@dataclass
class Fault:
    """What goes wrong, with the details its kind needs; see `FaultKind`."""

    kind: FaultKind
    aim: Aim = field(default_factory=Aim)
    apply: bool = True
    seconds: float = 0.0
    retry_after: float | None = None
    status: int = 429

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no fault {self.kind!r}. Choose one of: {', '.join(KINDS)}.")

    @property
    def before(self) -> bool:
        """Say whether it keeps the request from reaching its endpoint."""
        return self.kind in ("bad_gateway", "reset") or (self.kind == "timeout" and not self.apply)

    def refusal(self, key: str | None) -> Refusal | None:
        """Return the answer of a fault that is an ordinary refusal before anything began, or None."""
        refusals = {
            "error_503": server_error(503),
            "forbidden": Refusal(403, "The provided key does not have the required permissions."),
            "in_use": key_in_use(key or ""),
            "lock_timeout": locked(self.status),
            "rate_limit": rate_limited(self.retry_after),
            "unauthorized": Refusal(401, "Invalid API Key provided: sk_test_****"),
        }
        return refusals.get(self.kind)


class Faults:
    """The faults still to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []

    def __len__(self) -> int:
        return len(self._coming)

    def add(self, fault: Fault) -> Fault:
        """Ask for a fault."""
        self._coming.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all of them."""
        self._coming.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that strikes this request; later ones then do not see it."""
        for fault in self._coming:
            if fault.aim.hits(method, path):
                if fault.aim.spent:
                    self._coming.remove(fault)
                return fault
        return None
