"""The process's own log: structlog, as JSON unless on a terminal. What is being delivered is bound to every line.

No row value is logged above debug level, and no exception's text from a handler: both may hold what is private.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from worker.delivery import current

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def bind_delivery(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add handler, event id, key and attempt of the delivery this line is written in, if any."""
    if (delivery := current.get()) is not None:
        handler, change = delivery
        event.setdefault("handler", handler.name)
        event.setdefault("event_id", change.id)
        event.setdefault("key", change.key)
        event.setdefault("attempt", change.attempt)
    return event


def configure(level: str) -> None:
    """Set up logging for the process, to standard error; `level` is debug, info, warning or error."""
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            bind_delivery,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
