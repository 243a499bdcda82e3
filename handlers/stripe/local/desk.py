"""The desk: takes one request through the layers in Stripe's order, to its answer.

key → rate limit → permission → idempotency key → parameters → endpoint. The rate limiter comes before the
idempotency layer, so a 429 is never remembered (docs.stripe.com/error-low-level). Faults and gates strike
where the real thing would fail; the HTTP side of them is in `delivery`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from handlers.stripe.local.access import Access, is_live
from handlers.stripe.local.calls import Call, Calls
from handlers.stripe.local.endpoints import endpoint
from handlers.stripe.local.errors import Refusal, server_error
from handlers.stripe.local.faults import Fault, Faults
from handlers.stripe.local.forms import Form
from handlers.stripe.local.gates import Gate, Gates
from handlers.stripe.local.idempotency import KeyBook, StoredAnswer
from handlers.stripe.local.limits import RequestLimit
from handlers.stripe.local.products import Action
from handlers.stripe.local.reader import Reader
from handlers.stripe.local.store import Store, new_id


@dataclass
class Side:
    """One mode of the account: its catalogue and its idempotency keys."""

    store: Store
    keys: KeyBook


@dataclass
class _Task:
    """A request that was let in: on which side, what validates it into an action, what it will meet."""

    call: Call
    side: Side
    validate: Callable[[], Action]
    fault: Fault | None
    gate: Gate | None


@dataclass
class Desk:
    """Everything a request meets. `latency` is in seconds; `changed` is called after each write."""

    account: str
    access: Access
    clock: Callable[[], float]
    changed: Callable[[], None]
    calls: Calls = field(default_factory=Calls)
    faults: Faults = field(default_factory=Faults)
    gates: Gates = field(default_factory=Gates)
    latency: float = 0.0
    rate_limit: RequestLimit | None = None

    def __post_init__(self) -> None:
        self.test = Side(Store(self.account, False, self.clock), KeyBook(self.clock))
        self.live = Side(Store(self.account, True, self.clock), KeyBook(self.clock))
        self.test.store.other, self.live.store.other = self.live.store, self.test.store

    def open_call(self, method: str, path: str, form: Form, key: str | None, fault: Fault | None) -> Call:
        """Record a request that has arrived, with its idempotency key."""
        kind = fault.kind if fault else None
        call = Call(method, path, form, key, self.clock(), new_id("req_", 14), fault=kind)
        self.calls.add(call)
        return call

    async def answer(self, call: Call, authorization: str | None, fault: Fault | None) -> StoredAnswer:
        """Return the answer to a request, whatever becomes of it on the way back."""
        try:
            task = self._let_in(call, authorization, fault)
            answer = await self._once(task)
        except Refusal as refusal:
            return self.refuse(call, refusal)
        return self._answered(call, answer)

    def refuse(self, call: Call, refusal: Refusal) -> StoredAnswer:
        """Return the answer to a request that is refused."""
        return self._answered(call, self._error(call, refusal))

    def _answered(self, call: Call, answer: StoredAnswer) -> StoredAnswer:
        call.status = answer.status
        self.calls.changed()
        return answer

    def _let_in(self, call: Call, authorization: str | None, fault: Fault | None) -> _Task:
        refusal = fault.refusal(call.idempotency_key) if fault else None
        if refusal is not None:
            raise refusal
        key = self.access.admit(authorization)
        if self.rate_limit is not None:
            self.rate_limit.spend()
        target, ids = endpoint(call.method, call.path)
        self.access.permit(key, target.permission)
        side = self.live if is_live(key) else self.test
        gate = self.gates.take(call.method, call.path)
        return _Task(call, side, lambda: target.action(Reader(call.params), *ids), fault, gate)

    async def _once(self, task: _Task) -> StoredAnswer:
        call, keys, key = task.call, task.side.keys, task.call.idempotency_key
        if call.method != "POST" or not key:
            return await self._held(task, await self._worked(task))
        kept = keys.reserve(key, call.method, call.path, call.params)
        if kept is not None:
            call.replayed = True
            return await self._held(task, _replayed(kept, call))
        answer = None
        try:
            answer = await self._worked(task)
        finally:
            keys.settle(key, answer)
        return await self._held(task, answer)

    async def _worked(self, task: _Task) -> StoredAnswer:
        call, fault, gate = task.call, task.fault, task.gate
        if gate is not None and not gate.applied:
            await gate.hold(call)
        pause = self.latency + (fault.seconds if fault and fault.kind == "delay" else 0.0)
        if pause:
            await asyncio.sleep(pause)
        if fault and fault.kind == "error_500_before":
            return self._error(call, server_error())
        try:
            body = task.validate()(task.side.store)
        except Refusal as refusal:
            return self._error(call, refusal)
        if call.method != "GET":
            self.changed()
        if fault and fault.kind == "error_500_after":
            return self._error(call, server_error())
        return StoredAnswer(200, json.dumps(body).encode(), call.request_id, {})

    async def _held(self, task: _Task, answer: StoredAnswer) -> StoredAnswer:
        if task.gate is not None and task.gate.applied:
            self._answered(task.call, answer)
            await task.gate.hold(task.call)
        return answer

    def _error(self, call: Call, refusal: Refusal) -> StoredAnswer:
        log = f"https://dashboard.stripe.com/{self.account}/test/workbench/logs?object={call.request_id}"
        headers = dict(refusal.headers)
        if refusal.began and call.idempotency_key:
            headers["Stripe-Should-Retry"] = "false"  # the key would only replay it
        body = json.dumps(refusal.body(log)).encode()
        return StoredAnswer(refusal.status, body, call.request_id, headers, keep=refusal.began)


def _replayed(kept: StoredAnswer, call: Call) -> StoredAnswer:
    headers = kept.headers | {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
    return StoredAnswer(kept.status, kept.body, call.request_id, headers)
