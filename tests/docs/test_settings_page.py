"""The table of settings is that of the settings classes."""

from __future__ import annotations

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from handlers.packages import CrmSettings
from handlers.stripe import StripeSettings
from tests.support.pages import page
from worker.declare.registry import registry
from worker.settings import Settings

PAGE = page("docs/settings.md")
SECTIONS = [("The worker", Settings), ("Stripe", StripeSettings), ("The CRM", CrmSettings)]


def test_every_class_has_its_section() -> None:
    """A system that comes with settings of its own must not be forgotten."""
    registry.load(["handlers"])
    ours = [r.settings for r in registry.resources if r.factory.__module__.startswith("handlers.")]
    assert {Settings, *ours} == {settings_class for _, settings_class in SECTIONS}


@pytest.mark.parametrize(("section", "settings_class"), SECTIONS)
def test_every_setting_is_in_its_table_with_its_default(section: str, settings_class: type[BaseSettings]) -> None:
    """None is left out, made up or given twice, and each default is the code's."""
    rows = [row.strip("| ").split(" | ") for row in PAGE.section(section).splitlines() if row.startswith("| `")]
    documented = [(name.strip("`"), default.strip("`")) for name, default, _ in rows]
    fields = {str(field.alias): field for field in settings_class.model_fields.values()}
    assert len(documented) == len(fields)
    assert dict(documented) == {name: _default(field) for name, field in fields.items()}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else str(field.default).removesuffix(".0")
