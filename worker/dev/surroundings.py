"""What a worker finds around it in production and `hearken dev` starts itself: a database, and stand-ins for the
outside systems. As in production, environment variables point to them, and the settings are read from these.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from worker.declare.extensions import StandIn, import_modules
from worker.declare.registry import Registry
from worker.dev.databases import beside, embedded, psql_of_ours, psql_of_theirs
from worker.errors import ConfigurationError
from worker.settings import Settings, read_settings

# Submodules of a system's package, which only `dev` loads: production needs no local servers.
PARTS = ("stand_in", "demo")


@dataclass(frozen=True)
class Surroundings:
    """What is there. psql: a line to paste into a shell; stand_ins: the variables that point to each, by its name."""

    psql: str
    stand_ins: dict[str, dict[str, str]]


def load_parts(modules: list[str]) -> None:
    """Import the stand-ins and demos of the systems in `modules`, which are loaded already."""
    for name in modules:
        for module in import_modules(name):
            for part in PARTS if hasattr(module, "__path__") else ():
                if find_spec(f"{module.__name__}.{part}"):
                    import_module(f"{module.__name__}.{part}")


@asynccontextmanager
async def surroundings(registry: Registry, folder: Path, *, throwaway: bool) -> AsyncIterator[Surroundings]:
    """Start what no environment variable points to, with its data in `folder`; all of it is stopped at the end.

    throwaway: of a given database, only the server is used.
    Raises ConfigurationError, EmbeddedPostgresError.
    """
    needed = [stand_in for stand_in in registry.stand_ins if _is_needed(stand_in)]
    async with AsyncExitStack() as stack:
        given = _given_database(registry)
        if given is None:
            url = await stack.enter_async_context(embedded(folder / "postgres"))
        else:
            url = await stack.enter_async_context(beside(given)) if throwaway else given
        os.environ["DATABASE_URL"] = url
        stand_ins = {}
        for stand_in in needed:
            variables = await stack.enter_async_context(asynccontextmanager(stand_in.start)(folder))
            os.environ.update(variables)
            stand_ins[stand_in.name] = variables
        yield Surroundings(psql_of_theirs(given) if given else psql_of_ours(url), stand_ins)


def _given_database(registry: Registry) -> str | None:
    """What DATABASE_URL says. Raises ConfigurationError when it is not a connection string."""
    if not os.environ.get("DATABASE_URL"):
        return None
    settings = read_settings([Settings], known=[resource.settings for resource in registry.resources])[Settings]
    url: str = settings.database_url.get_secret_value()
    return url


def _is_needed(stand_in: StandIn) -> bool:
    """Whether nothing real is given instead. Raises ConfigurationError for what might be more than test data."""
    value = os.environ.get(stand_in.unless)
    if value and not value.startswith(stand_in.harmless):
        beginnings = " or ".join(f"{beginning}…" for beginning in stand_in.harmless)
        raise ConfigurationError(
            f"{stand_in.unless} is not for test data ({beginnings}), and `hearken dev` accepts nothing else: "
            f"set one that is, or unset it to use the local {stand_in.name}"
        )
    return not value
