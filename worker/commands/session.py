"""What most commands begin with: the declared handlers, the settings, a connection."""

from __future__ import annotations

import getpass
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import click
from pydantic_settings import BaseSettings

from worker.capture.catalog import read_table
from worker.commands.failures import NEGATIVE
from worker.declare.extensions import Factory
from worker.declare.handler import of_engine
from worker.declare.registry import Registry, registry
from worker.deliver.context import Services
from worker.errors import ConfigurationError, UsageError
from worker.install.enrolment import enrolled
from worker.postgres.database import Connection, Database
from worker.postgres.storable import storable_text
from worker.settings import HandlersSetting, Settings, read_settings
from worker.telemetry import logs

# For commands that may take long, or wait for another process; for a table's lock they wait a few seconds only.
NO_TIMEOUTS: LiteralString = (
    "select set_config('statement_timeout', '0', false), set_config('lock_timeout', '1h', false)"
)


def load_handlers() -> Registry:
    """Import the modules that HEARKEN_HANDLERS names. Raises ConfigurationError, DeclarationError."""
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m worker` has it
        sys.path.insert(0, here)
    registry.load(HandlersSetting().modules)
    return registry


def open_database(declared: Registry, purpose: str) -> Database:
    """The database that DATABASE_URL names; nothing is connected yet. Settings of resources may be missing.

    Raises ConfigurationError.
    """
    settings = read_settings([Settings], known=[resource.settings for resource in declared.resources])[Settings]
    logs.configure("warning")  # to standard error: standard output is for answers
    return Database(settings, application=f"hearken {purpose}")


@asynccontextmanager
async def connected(declared: Registry, purpose: str, *, patient: bool = False) -> AsyncIterator[Connection]:
    """One connection, in autocommit, shown to operators as "hearken PURPOSE"; a `patient` one has no statement timeout.

    Raises ConfigurationError, Unsupported, psycopg.OperationalError.
    """
    connection = await open_database(declared, purpose).connect()
    try:
        if patient:
            connection.call_timeout = math.inf
            await connection.execute(NO_TIMEOUTS)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def serving(
    declared: Registry, purpose: str, topics: Iterable[str], *, read_only: bool = False
) -> AsyncIterator[Services]:
    """What a worker gives its handlers: the open resources, and these tables.

    Only the engine's settings are required: a resource whose settings are missing fails when it is used.
    Raises ConfigurationError, WatchError, psycopg.OperationalError.
    """
    from worker.app import open_services

    settings, lacking = _settings_there_are(declared)
    async with connected(declared, purpose) as connection:  # before the pools, which would try again and again
        tables = {topic: await read_table(connection, topic) for topic in topics}
    opening = open_services(declared, settings, application=f"hearken {purpose}", read_only=read_only, lacking=lacking)
    async with opening as services:
        services.tables |= tables
        yield services


def _settings_there_are(declared: Registry) -> tuple[dict[type[BaseSettings], Any], dict[Factory, str]]:
    """The engine's settings and those of resources; and what is wrong with the rest. Raises ConfigurationError."""
    known = [resource.settings for resource in declared.resources]
    settings = read_settings([Settings], known)
    lacking: dict[Factory, str] = {}
    for resource in declared.resources:
        try:
            settings |= read_settings([resource.settings], [Settings, *known])
        except ConfigurationError as error:
            lacking[resource.factory] = str(error)
    return settings, lacking


async def check_known(connection: Connection, declared: Registry, handler: str) -> None:
    """Raises UsageError for a handler that neither the code nor the database knows."""
    known = declared.every_handler.keys() | (await enrolled(connection)).keys()
    if handler not in known:
        theirs = sorted(name for name in known if not of_engine(name))
        raise UsageError(f"no such handler: {handler}; known: {', '.join(theirs) or 'none'}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask the person at the terminal: a no ends the command, with a negative exit code.

    Raises UsageError when there is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on: confirm with --yes")
    # While the event loop handles it, Ctrl-C would only take effect after the answer.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if not click.confirm(question, err=True):
            click.echo("nothing was done", err=True)
            raise click.exceptions.Exit(NEGATIVE)
    finally:
        signal.signal(signal.SIGINT, before)


def operator() -> str:
    """Who runs this command, for the audit: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return storable_text(f"{user}@{socket.gethostname()}")
