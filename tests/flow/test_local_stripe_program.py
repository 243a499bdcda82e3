"""The local Stripe stops and starts again as the same account, alone or as a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest
import requests
import stripe

from handlers.stripe.local import LocalStripe, state_file
from tests.support.local_stripe import sdk, send


async def test_a_server_started_again_is_the_same_account(tmp_path: Path) -> None:
    """Key, catalogue, lookup keys, order and remembered answers come back from the file."""
    file = tmp_path / "with a space" / "stripe.json"
    file.parent.mkdir()
    async with LocalStripe(state_file=file) as first, sdk(first) as api:
        await api.products.create_async({"id": "p", "name": "N"})
        await api.products.create_async({"id": "q", "name": "N"})
        params: stripe.params.PriceCreateParams = {
            "product": "p",
            "currency": "eur",
            "unit_amount": 1,
            "lookup_key": "k",
        }
        price = await api.prices.create_async(params, {"idempotency_key": "once"})
    async with LocalStripe(state_file=file) as second, sdk(second) as api:
        assert (second.key, second.account) == (first.key, first.account)
        assert [product.id for product in (await api.products.list_async()).data] == ["q", "p"]
        assert (await api.prices.list_async({"lookup_keys": ["k"]})).data[0].id == price.id
        assert (await api.prices.create_async(params, {"idempotency_key": "once"})).id == price.id
        assert len(second.store.prices) == 1


async def test_the_state_file_is_the_owners_and_always_whole(tmp_path: Path) -> None:
    """It holds the key, so nobody else may read it; nothing but the file is left beside it."""
    file = tmp_path / "stripe.json"
    async with LocalStripe(state_file=file) as server:
        for number in range(20):
            await send(server, "POST", "/v1/products", {"id": f"p{number}", "name": "N"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(json.loads(file.read_text())["test"]["products"]) == 20
    assert os.listdir(tmp_path) == [file.name]  # noqa: PTH208


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 0}'])
def test_a_file_that_is_no_state_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """It is neither ignored nor overwritten."""
    file = tmp_path / "stripe.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"stripe\.json is not a state file"):
        LocalStripe(state_file=file)
    assert file.read_text() == content


async def test_a_state_file_of_another_account_is_refused(tmp_path: Path) -> None:
    """One file is one account."""
    file = tmp_path / "stripe.json"
    async with LocalStripe(state_file=file, account="acct_one"):
        pass
    with pytest.raises(ValueError, match="belongs to account acct_one, not to acct_two"):
        LocalStripe(state_file=file, account="acct_two")


async def test_each_account_has_a_key_of_its_own() -> None:
    """There is no default secret, and the address is only there once the server is."""
    servers = [LocalStripe(), LocalStripe()]
    assert servers[0].key != servers[1].key
    assert all(server.key.startswith("sk_test_local_") for server in servers)
    with pytest.raises(RuntimeError, match="not started"):
        _ = servers[0].url


async def test_a_state_that_cannot_be_saved_is_said_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk or a missing right is neither silent nor the end of the server."""
    said = asyncio.Event()
    monkeypatch.setattr(state_file._log, "error", lambda *_: said.set())
    directory = tmp_path / "file"
    directory.write_text("not a directory")
    with pytest.raises(OSError, match="file"):
        async with LocalStripe(state_file=directory / "stripe.json") as server:
            reply = await send(server, "POST", "/v1/products", {"name": "N"})
            assert reply.status == 200
            await asyncio.wait_for(said.wait(), 5)


async def test_a_port_that_is_taken_is_an_error() -> None:
    """Two servers cannot listen on one port."""
    async with LocalStripe() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            await LocalStripe(port).__aenter__()


async def test_it_runs_as_a_program_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Another process reads address and key from its first two lines; SIGTERM saves and ends it."""
    file = tmp_path / "stripe.json"
    command = (
        sys.executable,
        "-m",
        "handlers.stripe.local",
        "--state",
        str(file),
        "--account",
        "acct_program",
    )
    program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    lines = [(await program.stdout.readline()).decode().strip() for _ in range(2)]
    address, key = (line.partition("=")[2] for line in lines)
    http = stripe.AIOHTTPClient()
    client = stripe.StripeClient(key, base_addresses={"api": address}, http_client=http)
    assert (await client.v1.accounts.retrieve_current_async()).id == "acct_program"
    await client.v1.products.create_async({"id": "p", "name": "N"})
    await http.close_async()  # type: ignore[no-untyped-call]
    program.terminate()
    assert await asyncio.wait_for(program.wait(), 10) == 0
    assert [product["id"] for product in json.loads(file.read_text())["test"]["products"]] == ["p"]


async def test_the_synchronous_client_works_too() -> None:
    """The SDK without asyncio, as a script would use it."""
    async with LocalStripe() as server:

        def script() -> str:
            with requests.Session() as session:
                http = stripe.RequestsClient(session=session)
                client = stripe.StripeClient(server.key, base_addresses={"api": server.url}, http_client=http)
                made = client.v1.products.create({"id": "p", "name": "N"})
                return client.v1.products.retrieve(made.id).name

        assert await asyncio.to_thread(script) == "N"
