"""`hearken job`: ask an endpoint, or let a schedule be due, without HTTP and without a shared secret."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext

import click
from pydantic import ValidationError

from worker.cli.output import print_json
from worker.cli.progress import Bar
from worker.cli.runs import tell
from worker.cli.session import connected, load_handlers, operator
from worker.database import Connection
from worker.declaration import Handler
from worker.errors import AlreadyRunning, UsageError
from worker.registry import Registry
from worker.requests import ask, problems, sound
from worker.runs import Run, find_run

FAILED = 1
LOOK = 0.2
