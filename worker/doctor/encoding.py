"""Whether the database's text can be read as what it says it is."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, judged
from worker.doctor.patient import Patient
from worker.install.migrate import unfit_encoding

# With SQL_ASCII Postgres neither checks nor converts text.
# https://www.postgresql.org/docs/current/multibyte.html
ENCODING: LiteralString = "select current_setting('server_encoding') as name"


async def check_encoding(patient: Patient) -> list[Finding]:
    """What encoding text is kept in."""
    name = (await patient.row(ENCODING))["name"]
    problems = []
    if name == "SQL_ASCII":
        problems.append(
            "SQL_ASCII: Postgres takes any bytes as text here, and an event with text that is not UTF-8 cannot be read"
            " and ends dead. Move to a database made with encoding 'UTF8'"
        )
    elif name != "UTF8":
        problems.append(unfit_encoding(name))
    return [judged("encoding", name, problems)]
