"""Promise: /openapi.json describes the endpoints as they are, and they hold against whatever can be made of it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.support.asking import ECHO, SECRET, Endpoints, asking, read


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
    assert set(result["properties"]) == {"said", "size"}
    (parameter,) = document["paths"]["/reading"]["get"]["parameters"]
    assert (parameter["name"], parameter["required"]) == ("word", True)


async def test_the_server_holds_against_schemathesis(database_url: str, tmp_path: Path) -> None:
    """Hundreds of requests, sound and unsound, made from the document: each answer is one that it names.

    What JSON Schema finds sound is not always taken: 739.0 is no integer here.
    """
    endpoints = Endpoints().declare(rate=1_000_000).declare("/reading", "reading", read=read, rate=1_000_000)
    async with asking(database_url, endpoints) as asker:
        program = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{asker.worker.url}/openapi.json"),
            *(
                "--header",
                f"Authorization: Bearer {SECRET}",
                "--checks",
                "all",
                "--exclude-checks",
                "positive_data_acceptance",
                "--max-examples",
                "30",
            ),
            *("--seed", "1", "--generation-database", "none", "--no-color"),
            cwd=tmp_path,
            stdout=PIPE,
            stderr=STDOUT,
        )
        out, _ = await program.communicate()
    assert program.returncode == 0, out.decode()
