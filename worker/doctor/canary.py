"""What the workers' canaries say: each has a row with the last beat that it sent, and the last that came back."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, fine, judged
from worker.doctor.patient import Patient
from worker.observe.canary import RETURN_WITHIN

# A row without a worker is what one has left that was killed.
BEATS: LiteralString = """
select split_part(c.worker, '/', 1) as worker, c.returned >= c.sent as returned,
       extract(epoch from clock_timestamp() - c.sent_at)::float8 as age,
       extract(epoch from c.returned_at - c.sent_at)::float8 as took
from hearken.canary c
where exists (select from pg_catalog.pg_stat_activity a
              where a.datname = current_database() and a.application_name = split_part(c.worker, '/', 1))
order by c.worker
"""


async def check_canary(patient: Patient) -> list[Finding]:
    """Of the workers that are connected."""
    beats = await patient.rows(BEATS)
    silent = [beat for beat in beats if not beat["returned"] and beat["age"] > RETURN_WITHIN]
    if not beats:
        return [fine("canary", "no connected worker has sent a beat yet")]
    slowest = max((beat["took"] for beat in beats if beat["returned"]), default=0.0)
    problems = [
        f"the beat that {beat['worker']} sent {beat['age']:.0f} s ago did not come back: its /readyz says which part"
        " is silent"
        for beat in silent
    ]
    return [judged("canary", f"the last beats came back (workers: {len(beats)}), in {slowest * 1000:.1f} ms", problems)]
