"""Promise: /openapi.json describes the endpoints as they are, and they hold against whatever can be made of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.asking import ECHO, Endpoints, asking, read
from tests.support.schemathesis import hold_against
from worker import Skip


async def test_every_route_is_described(database_url: str) -> None:
    """Path, body and result as they were declared; nothing of another endpoint's."""
    endpoints = Endpoints().declare().declare("/reading", "reading", read=read, alone=True)
    async with asking(database_url, endpoints) as asker:
        document = (await asker.worker.get("/openapi.json")).json
    assert set(document["paths"]) == {ECHO, f"{ECHO}/runs/{{run}}", "/reading", "/reading/runs/{run}"}
    post = document["paths"][ECHO]["post"]
    assert post["summary"] == "Say it again."
    body = post["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["batchSize"]["maximum"] == 1000
    result = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert [set(one["properties"]) for one in result["anyOf"]] == [{"said", "size"}, {"run", "skipped"}]
    (parameter,) = document["paths"]["/reading"]["get"]["parameters"]
    assert (parameter["name"], parameter["required"]) == ("word", True)


async def test_the_server_holds_against_schemathesis(database_url: str, tmp_path: Path) -> None:
    """Hundreds of requests: no server error, and no answer that the document does not name; some runs are skipped."""
    endpoints = Endpoints().declare().declare("/reading", "reading", read=read)
    endpoints.raises += [Skip("not today") for _ in range(5)]
    async with asking(database_url, endpoints) as asker:
        await hold_against(asker.worker.url, tmp_path)
