"""Idempotency keys as Stripe keeps them (docs.stripe.com/api/idempotent_requests).

The first answer of an endpoint that began is kept for 24 hours, whatever its status, and returned to every
request with the same key and parameters. Other parameters are refused; so is a key whose request is still
going on. A request that failed validation, or was refused before it began, leaves its key unused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from handlers.stripe.local.errors import Refusal, invalid, key_in_use
from handlers.stripe.local.forms import Form

LIFETIME = 24 * 3600.0
"""Seconds after which a key is forgotten."""


@dataclass(frozen=True)
class StoredAnswer:
    """What a client gets: HTTP status, JSON body, request id, and whether to keep it under the key."""

    status: int
    body: bytes
    request_id: str
    headers: dict[str, str]
    keep: bool = True


@dataclass
class _Use:
    method: str
    path: str
    form: Form
    at: float
    answer: StoredAnswer | None = None


class KeyBook:
    """The idempotency keys of one mode; `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        self._clock = clock

    def reserve(self, key: str, method: str, path: str, form: Form) -> StoredAnswer | None:
        """Return the answer kept under `key`, or None after reserving it for this request.

        Raises Refusal: 400 when the key was used otherwise, 409 while its first request is going on.
        """
        if len(key) > 255:
            raise invalid("Idempotency keys can be at most 255 characters long.")
        self._forget_old()
        use = self._uses.get(key)
        if use is None:
            self._uses[key] = _Use(method, path, form, self._clock())
            return None
        _check_same(key, use, method, path, form)
        if use.answer is None:
            raise key_in_use(key)
        return use.answer

    def settle(self, key: str, answer: StoredAnswer | None) -> None:
        """Keep the answer of the request that reserved `key`, or give the key free (None, or not to keep)."""
        if answer is not None and answer.keep:
            self._uses[key].answer = answer
        else:
            self._uses.pop(key, None)

    def _forget_old(self) -> None:
        oldest_kept = self._clock() - LIFETIME
        while self._uses:
            key, use = next(iter(self._uses.items()))
            if use.at > oldest_kept or use.answer is None:
                return
            del self._uses[key]

    def dump(self) -> list[list[Any]]:
        """Return the kept answers as JSON: key, method, path, parameters, time, answer."""
        return [
            [
                key,
                use.method,
                use.path,
                use.form,
                use.at,
                asdict(use.answer) | {"body": use.answer.body.decode()},
            ]
            for key, use in self._uses.items()
            if use.answer is not None
        ]

    def load(self, dumped: list[list[Any]]) -> None:
        """Take in what `dump` returned."""
        for key, method, path, form, at, answer in dumped:
            kept = StoredAnswer(**answer | {"body": answer["body"].encode()})
            self._uses[key] = _Use(method, path, form, at, kept)


def _check_same(key: str, use: _Use, method: str, path: str, form: Form) -> None:
    if (use.method, use.path) != (method, path):
        used = f"for the same endpoint they were first used for ('{path}' vs '{use.path}')"
    elif use.form != form:
        used = "with the same parameters they were first used with"
    else:
        return
    message = (
        f"Keys for idempotent requests can only be used {used}. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    raise Refusal(400, message, kind="idempotency_error")
