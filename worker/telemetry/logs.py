"""The process's own log, to standard error: JSON lines, or readable text on a terminal.

Everything ends in one place: structlog, and the standard library's logging with it (aiohttp, psycopg, asyncio, and
handlers that use it). What is being delivered is bound to each line, whoever writes it.

No row's values appear above debug level. So an exception is logged with its class and place, and with its text only at
debug level: nobody knows what a handler puts into it. `hearken.parked` keeps the text.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.change import Change

# What the lines say that are written while something is delivered in this task. No change is in it: the loop keeps a
# context for as long as a timer that was set in it, even a cancelled one, and a row may be large.
current: contextvars.ContextVar[Mapping[str, Any] | tuple[Any, ...] | None] = contextvars.ContextVar(
    "delivery", default=None
)
# What it has of a single event, as a tuple: cheaper than a dict.
OF_ONE = ("handler", "event_id", "key", "attempt")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Set up logging for the process; `level` is debug, info, warning or error.

    as_json   also on a terminal
    stream    where to, instead of standard error
    """
    out = sys.stderr if stream is None else stream
    shared = _shared(level)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(for_eyes=out.isatty() and not as_json),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _shared(level: str) -> list[Processor]:
    """What is done to each line, whoever writes it."""
    return [
        bind_delivery,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(_trace_of(with_text=level == "debug")),
    ]


def _renderer(*, for_eyes: bool) -> Processor:
    if for_eyes:
        # The traceback is text by now; the default formatter would add the values of local variables to it.
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(default=str)


def bind_delivery(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add what is known of the delivery this line is written in, if any: see `delivery_of`."""
    delivery = current.get() or {}
    for name, value in zip(OF_ONE, delivery, strict=True) if isinstance(delivery, tuple) else delivery.items():
        event.setdefault(name, value)
    return event


def delivery_of(handler: str, changes: Sequence[Change]) -> dict[str, Any]:
    """What `current` says in a line: handler, event id, key and attempt.

    Of a transactional handler's batch of several events: how many there are, and the first and last id.
    """
    if len(changes) != 1:
        ids = {"first_event_id": changes[0].id, "last_event_id": changes[-1].id}
        return {"handler": handler, "events": len(changes), **ids}
    (change,) = changes
    return {"handler": handler, "event_id": change.id, "key": change.key, "attempt": change.attempt}


def say_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For the event loop: an exception that nobody awaited. Its own handler would print the exception's text."""
    words = {"event": context["message"], "exc_info": context.get("exception")}
    structlog.get_logger("asyncio").error(**{name: word for name, word in words.items() if word is not None})


def _trace_of(*, with_text: bool) -> structlog.typing.ExceptionTransformer:
    """A renderer of exceptions: class and frames of it and its causes, and their texts only if wanted."""

    def render(exc_info: structlog.typing.ExcInfo) -> str:
        _, error, _ = exc_info
        if with_text:
            return "".join(traceback.format_exception(error)).rstrip()
        return "\n".join(_frames(error))

    return render


def _frames(error: BaseException, seen: frozenset[int] = frozenset()) -> list[str]:
    """The classes of the exception, its causes (before it) and a group's members (after it), each with its place."""
    seen |= {id(error)}  # an exception may be its own cause
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = [] if cause is None or id(cause) in seen else [*_frames(cause, seen), "which led to"]
    places = [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    after = [line for member in members if id(member) not in seen for line in ("contains", *_frames(member, seen))]
    return [*before, *places, f"{type(error).__module__}.{type(error).__qualname__}", *after]
