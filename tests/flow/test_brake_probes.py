"""Promise: a handler that the brake has stopped is seen: a red line of /readyz, figures, the log, all with counts."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.support.served import execute, served
from tests.support.watched import declare
from worker.operate.audit import Actor
from worker.operate.handlers import confirm_brake
from worker.postgres.database import Database
from worker.settings import Settings


async def test_the_brake_is_seen_until_it_is_released(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By probes, by Prometheus and by readers of the log; green again within seconds of the confirmation."""
    url = empty_database_url
    with capture_logs() as lines:
        async with served(url, declare("public.things")) as worker:
            await execute(url, "insert into things select i, 'x' from generate_series(1, 30) i")
            await worker.until_ready()
            await worker.until("/metrics", lambda reply: 'hearken_delivered_total{handler="hear"} 30.0' in reply.text)
            await execute(url, "delete from things where id <= 20")
            await worker.until_red("handler hear", "braked: 20 deleted", "of a table of 30 rows", "--confirm")
            metrics = (await worker.get("/metrics")).text
            assert 'hearken_braked{handler="hear"} 1.0' in metrics
            assert 'hearken_braked_rows{handler="hear",kind="deleted"} 20.0' in metrics
            assert 'hearken_delivered_total{handler="hear"} 30.0' in metrics
            health = (await worker.get("/health")).json["handlers"]["hear"]
            assert health["braked"] == "20 deleted in one window, of a table of 30 rows"
            connection = await Database(Settings.model_validate({"DATABASE_URL": url})).connect()
            await confirm_brake(connection, "hear", Actor("test"))
            await connection.close()
            await worker.until_ready()
            await worker.until("/metrics", lambda reply: 'hearken_delivered_total{handler="hear"} 50.0' in reply.text)
            # What is known of the database may be a moment old: the counter is not.
            await worker.until("/metrics", lambda reply: 'hearken_braked{handler="hear"} 0.0' in reply.text)
    (line,) = [line for line in lines if line["event"] == "handler braked before delivering anything"]
    assert (line["log_level"], line["handler"], line["deleted"], line["of_rows"]) == ("error", "hear", 20, 30)
    assert "hearken resume hear --confirm" in line["then"]
