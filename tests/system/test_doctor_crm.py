"""Promise: `hearken doctor` says whether the CRM is off, answers, is away, or denies the key; and nothing is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.crm import CrmServer, open_crm
from tests.support.doctor import Findings, examined
from worker.declare.registry import Registry, registry
from worker.dev.embedded import EmbeddedPostgres
from worker.dev.ports import free_port


@pytest.fixture
async def crm(shared_postgres: EmbeddedPostgres) -> AsyncIterator[CrmServer]:
    """A CRM of the test's own."""
    async with open_crm(shared_postgres) as server:
        yield server


def _diagnoses() -> Registry:
    """The CRM's diagnosis, as handlers/ declares it."""
    registry.load(["handlers"])
    chosen = Registry(engine=registry.engine.values())
    chosen.diagnoses = [one for one in registry.diagnoses if one.name == "crm"]
    return chosen


async def _of_crm(**environment: str) -> Findings:
    return await examined(None, _diagnoses, **environment)


async def test_without_settings_it_is_off() -> None:
    """Which is fine: the CRM is optional."""
    found = (await _of_crm()).about("crm")
    assert (found.state, found.text.startswith("package sync is off")) == ("ok", True), found


async def test_half_of_the_settings_are_a_problem_of_the_settings() -> None:
    """The line of the settings names what is missing; the CRM is not asked."""
    findings = await _of_crm(CRM_SUPABASE_URL="https://abc.supabase.co")
    assert any("CRM_SUPABASE_KEY is not set" in found.text for found in findings if found.name == "settings")
    findings.unknown("crm", "not looked at")


async def test_a_crm_that_answers_is_fine(crm: CrmServer) -> None:
    """Asked once, for its smallest answer; the address is said, and not the key."""
    found = (await _of_crm(CRM_SUPABASE_URL=crm.gateway.url, CRM_SUPABASE_KEY=crm.gateway.key)).about("crm")
    assert (found.state, crm.gateway.url in found.text, crm.gateway.key in found.text) == ("ok", True, False), found
    assert len(crm.gateway.calls) == 1


async def test_a_key_that_the_crm_denies(crm: CrmServer) -> None:
    """It says which setting it is, and not its value."""
    findings = await _of_crm(CRM_SUPABASE_URL=crm.gateway.url, CRM_SUPABASE_KEY="somebody-elses-key")
    assert "somebody-elses-key" not in findings.problem("crm", "denies CRM_SUPABASE_KEY")


async def test_a_crm_that_is_away() -> None:
    """Nobody listens there."""
    findings = await _of_crm(CRM_SUPABASE_URL=f"http://127.0.0.1:{free_port()}", CRM_SUPABASE_KEY="key")
    findings.problem("crm", "the CRM did not answer")
