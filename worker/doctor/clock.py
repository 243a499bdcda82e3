"""Whether this machine's clock and the database's agree: ages and latencies are differences of the two."""

from __future__ import annotations

import time
from typing import LiteralString

from worker.doctor.finding import Finding, fine, wrong
from worker.doctor.patient import Patient

# Seconds by which they may differ.
TOLERANCE = 2.0

NOW: LiteralString = "select extract(epoch from clock_timestamp())::float8 as now"


async def check_clock(patient: Patient) -> list[Finding]:
    """Compare them in the middle of a question's time."""
    before = time.time()
    theirs = (await patient.row(NOW))["now"]
    difference = (before + time.time()) / 2 - theirs
    side = "ahead of" if difference > 0 else "behind"
    text = f"this machine's clock is {abs(difference):.1f} s {side} the database's"
    if abs(difference) <= TOLERANCE:
        return [fine("clock", text)]
    return [wrong("clock", f"{text}: ages and latencies are wrong by that much; synchronise both with NTP")]
