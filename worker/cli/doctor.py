"""`hearken doctor`: what is wrong, and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json
from worker.commands.session import load_handlers
from worker.doctor.examination import examine
from worker.doctor.finding import Finding
from worker.telemetry import logs

MARKS = {"ok": "✓", "problem": "✗", "unknown": "?"}


@click.command(short_help="Check everything a worker depends on.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check everything a worker depends on, and say for each part what is fine or what to do. Changes nothing.

    \b
    ✓ fine   ✗ needs action   ? could not be looked at

    Exits with 1 unless all is fine. Works while workers run; while the database is unreachable, it checks what it can.
    """
    logs.configure("error")
    findings = asyncio.run(_examine(as_json=as_json))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 0 if all(finding.state == "ok" for finding in findings) else NEGATIVE


async def _examine(*, as_json: bool) -> list[Finding]:
    findings = []
    async for finding in examine(load_handlers):
        findings.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.state]} {finding.name}: {finding.text}")
    return findings
