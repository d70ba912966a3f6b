"""Many submissions of one workflow read its definition once, also where that read is cancelled or fails."""

from __future__ import annotations

import anyio
from support.scripted import Exchange, Handler, Scripted, answer
from support.tables import table
from support.virtual import served, virtual

from cyberun_async import AsyncClient, InvalidParameters, ServerError

MANY = 40

PROMPT = {"key": "prompt", "type": "string"}


def definition(*parameters: object) -> Handler:
    """Answer with a definition, after a moment in which all others arrive."""

    async def handler(exchange: Exchange) -> None:
        await anyio.sleep(0.1)
        await exchange.answer(200, {"id": "1", "workflow_slug": "demo", "parameters": list(parameters)})

    return handler


def failing(status: int) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await anyio.sleep(0.1)
        await exchange.answer(status, {"error_message": "no"})

    return handler


async def submit_many(client: AsyncClient, *, cancelled: int = 0, **parameters: object) -> list[str]:
    """Submit at once, and give what came of each; the first may be cancelled in the middle."""
    outcomes: list[str] = []

    async def submit(scope: anyio.CancelScope) -> None:
        with scope:
            try:
                outcomes.append(await client.submit("demo", parameters))
            except (ServerError, InvalidParameters) as error:
                outcomes.append(type(error).__name__)

    scopes = [anyio.CancelScope() for _ in range(MANY)]
    async with anyio.create_task_group() as group:
        for scope in scopes:
            group.start_soon(submit, scope)
        await anyio.sleep(0.05)
        for scope in scopes[:cancelled]:
            scope.cancel()
    return outcomes


def serve(server: Scripted, *handlers: Handler) -> None:
    server.on("definition", *handlers)
    server.on("run", answer(202, {"task_id": "t-1"}))


@virtual
async def test_it_is_read_once() -> None:
    """All of them wait for the first."""
    async with served() as (server, client):
        serve(server, definition(PROMPT))
        assert await submit_many(client, prompt="x") == ["t-1"] * MANY

    assert server.kinds().count("definition") == 1


@table("cancelled", [1, 5])
@virtual
async def test_the_one_that_reads_is_cancelled(cancelled: int) -> None:
    """The next in line takes over."""
    async with served() as (server, client):
        serve(server, definition(PROMPT))
        assert await submit_many(client, cancelled=cancelled, prompt="x") == ["t-1"] * (MANY - cancelled)

    assert server.kinds().count("definition") <= 1 + cancelled


@virtual
async def test_the_read_fails() -> None:
    """It is one caller's failure, and the next in line reads again."""
    async with served() as (server, client):
        serve(server, failing(500), definition(PROMPT))
        outcomes = await submit_many(client, prompt="x")

    assert sorted(outcomes) == ["ServerError"] + ["t-1"] * (MANY - 1)
    assert server.kinds().count("definition") == 2


@virtual
async def test_the_reads_fail_for_ever() -> None:
    """Each gets the failure, after two reads."""
    async with served() as (server, client):
        serve(server, failing(500))
        assert await submit_many(client, prompt="x") == ["ServerError"] * MANY

    assert server.kinds().count("definition") == 2


@virtual
async def test_parameters_that_do_not_fit() -> None:
    """A read that began before a call may be too old to refuse it, so those who waited for it share another one."""
    async with served() as (server, client):
        serve(server, definition(PROMPT))
        assert await submit_many(client, prompt=5) == ["InvalidParameters"] * MANY
        assert server.kinds() == ["definition"] * 2
        # And a definition that is remembered is read afresh before it refuses.
        assert await submit_many(client, prompt=5) == ["InvalidParameters"] * MANY

    assert server.kinds() == ["definition"] * 4


@virtual
async def test_a_definition_that_has_changed() -> None:
    """Parameters that fit only a definition newer than the remembered one are submitted."""
    async with served() as (server, client):
        serve(server, definition(PROMPT), definition())
        await client.submit("demo", {"prompt": "x"})
        assert await client.submit("demo", {"prompt": 5}) == "t-1"
