"""A condition in SQL that an operator gives (`--where`): checked before it is used, and only ever used to read.

It comes from whoever has DATABASE_URL, so it is not an attack that is kept out, but a slip: a `;`, a parenthesis too
many, a column that is not there. Alone and in parentheses it must be a condition; where only one of the two is, it
would change what stands around it.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import scalar_row

from worker.capture.catalog import Table
from worker.errors import UsageError
from worker.postgres.parameters import with_parameters

READ_ONLY: LiteralString = "set transaction read only"
# With a parameter, so that Postgres takes no more than one statement.
PLAN = sql.SQL("explain (format json) select from {table} r where %s::boolean and {condition}\n")
# What says that the condition is wrong, or that it writes, rather than that the database is unreachable.
MISTAKES = (psycopg.ProgrammingError, psycopg.DataError, errors.ReadOnlySqlTransaction, errors.FeatureNotSupported)


def condition_sql(text: str | None) -> sql.Composable:
    """The condition in parentheses, to be composed with parameters; true where there is none."""
    if text is None:
        return sql.SQL("true")
    return sql.SQL("({}\n)").format(_raw(text))


async def check_condition(connection: AsyncConnection[Any], table: Table, text: str | None) -> int:
    """About how many rows fit, as the planner guesses. The table is `r` in the condition.

    Raises UsageError for anything that is not a condition on this table.
    """
    relation = sql.Identifier(table.schema, table.name)
    alone = sql.SQL("true") if text is None else _raw(text)
    try:
        async with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(READ_ONLY)
            await cursor.execute(with_parameters(PLAN.format(table=relation, condition=alone)), (True,))
            within = with_parameters(PLAN.format(table=relation, condition=condition_sql(text)))
            await cursor.execute(within, (True,))
            (plan,) = await cursor.fetchall()
    except errors.InsufficientPrivilege:
        raise  # what one may not see says nothing of the condition
    except MISTAKES as error:
        raise not_a_condition(error) from None
    return int(plan[0]["Plan"]["Plan Rows"])


def not_a_condition(error: psycopg.Error) -> UsageError:
    """The one line for a condition that Postgres does not take."""
    said = " ".join((error.diag.message_primary or str(error)).split())
    return UsageError(f"--where is not a usable condition: {said}")


def _raw(text: str) -> sql.SQL:
    return sql.SQL(text.replace("%", "%%"))
