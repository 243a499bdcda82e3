"""Whether the settings are all there and right."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from worker.declare.registry import Registry
from worker.doctor.finding import Finding, fine, wrong
from worker.errors import ConfigurationError
from worker.settings import Settings, read_settings


def check_configuration(registry: Registry) -> list[Finding]:
    """A line for each setting that is missing, wrong or unknown."""
    classes = settings_classes(registry)
    try:
        read_settings(classes)
    except ConfigurationError as error:
        _, *problems = str(error).splitlines()
        return [wrong("settings", problem.strip()) for problem in problems]
    return [fine("settings", "none is missing, wrong or unknown")]


def settings_classes(registry: Registry) -> list[type[BaseSettings]]:
    """The engine's, and those of every declared resource and diagnosis."""
    of_resources = [resource.settings for resource in registry.resources]
    return list(dict.fromkeys([Settings, *of_resources, *(diagnosis.settings for diagnosis in registry.diagnoses)]))


def settings_for_checks() -> Settings | None:
    """The engine's settings, with the default in place of each that is wrong; None without a right DATABASE_URL."""
    defaults = {str(field.alias): field.default for field in Settings.model_fields.values() if not field.is_required()}
    instead: dict[str, object] = {}
    for _ in range(2):
        try:
            return Settings.model_validate(instead)  # what is given here is not taken from the environment
        except ValidationError as error:
            instead = {name: defaults[name] for name in (str(e["loc"][0]) for e in error.errors()) if name in defaults}
    return None
