"""The groups of calls, end to end against the local Cyberun."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from urllib.parse import unquote

import anyio
import anyio.lowlevel
import pytest
from support.tables import table

from cyberun_async import (
    AsyncClient,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    CyberunError,
    InvalidParameters,
    NotFoundError,
    PermissionDeniedError,
    Polling,
    TaskStatus,
)
from cyberun_async.local import LocalCyberun, LocalParameter, LocalWorkflow, scripts

NOBODY = "019abc12-9012-7890-abcd-ef1234567896"


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a Cyberun whose clock stands still, so that a task stays as it is until told otherwise."""
    with LocalCyberun(clock="held") as running:
        yield running


@pytest.fixture
async def client(server: LocalCyberun) -> AsyncIterator[AsyncClient]:
    """Give a client of it."""
    async with AsyncClient(server.api_key, base_url=server.base_url, polling=Polling(interval=0.05)) as opened:
        yield opened


def asked(server: LocalCyberun) -> list[str]:
    """Name the calls that came, in order."""
    return [exchange.operation for exchange in server.requests]


async def submit_many(client: AsyncClient, number: int) -> list[str]:
    """Submit tasks, and give their ids in order."""
    return [await client.workflows.run("text-to-image", {"prompt": str(each)}) for each in range(number)]


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages of ten asked for, so that a list of several takes few submissions."""
    monkeypatch.setattr("cyberun_async._transport.paginator.MAX_PAGE_SIZE", 10)


# Workflows


async def test_list_workflows(client: AsyncClient, server: LocalCyberun) -> None:
    """All workflows of the team are listed, with one request where they fit on one page."""
    workflows = [workflow async for workflow in client.workflows.list()]

    assert {"text-to-image", "img2img", "nerfstudio-train"} <= {workflow.slug for workflow in workflows}
    assert asked(server) == ["workflows.list"]


async def test_get_workflow(client: AsyncClient, server: LocalCyberun) -> None:
    """A workflow is found by slug, by version and by UUID, and comes with its parameters."""
    newest = await client.workflows.get("text-to-image")
    older = await client.workflows.get("text-to-image@1")
    same = await client.workflows.get(newest.id)

    assert (newest, newest.version, older.version) == (same, 2, 1)
    assert "prompt" in [parameter.key for parameter in newest.parameters if parameter.required]
    assert [exchange.path.partition("/r/")[2] for exchange in server.requests] == [
        "workflows/slug/text-to-image",
        "workflows/slug/text-to-image@1",
        f"workflows/{newest.id}",
    ]


async def test_run_workflow(client: AsyncClient, server: LocalCyberun) -> None:
    """A task can be submitted by slug, by version and by UUID, and what was given arrives."""
    workflow = await client.workflows.get("text-to-image")
    for ref in ("text-to-image", "text-to-image@1", workflow.id):
        task = await client.tasks.get(await client.workflows.run(ref, {"prompt": "x"}, dispatch_target="agent"))

        assert (task.workflow_id, task.status, task.dispatch_target) == (workflow.id, TaskStatus.PENDING, "agent")
    assert [exchange.operation for exchange in server.requests if exchange.method == "POST"] == ["workflows.run"] * 3
    assert server.requests[1].body == b'{"parameters":{"prompt":"x"},"dispatch_target":"agent"}'


async def test_run_is_not_checked(client: AsyncClient, server: LocalCyberun) -> None:
    """The bare call leaves it to the server to refuse."""
    with pytest.raises(BadRequestError, match="'prompt' is required"):
        await client.workflows.run("text-to-image")
    with pytest.raises(InvalidParameters, match="must be a mapping"):
        await client.workflows.run("text-to-image", [])  # type: ignore[arg-type]

    assert asked(server) == ["workflows.run"]


async def test_disabled_workflow(client: AsyncClient) -> None:
    """A workflow that takes no tasks says so."""
    assert (await client.workflows.get("retired")).status == "disabled"
    with pytest.raises(ConflictError):
        await client.submit("retired", {"prompt": "x"})


# Tasks


async def test_task(client: AsyncClient, server: LocalCyberun) -> None:
    """A task can be looked at while it lives, and its result once it is over."""
    task_id = await client.workflows.run("text-to-image", {"prompt": "x", "width": 64, "height": 64})
    before = await client.tasks.result(task_id)
    await server.clock.advance(60)
    task, result = await client.tasks.get(task_id), await client.tasks.result(task_id)

    assert (before.status, before.output, before.files) == (TaskStatus.PENDING, None, ())
    assert (task.status, task.error, result.status) == (TaskStatus.COMPLETED, None, TaskStatus.COMPLETED)
    assert task.created_at is not None
    assert task.created_at <= (task.started_at or task.created_at) <= (task.completed_at or task.created_at)
    assert [file.name for file in result.files] == ["output_00001_.png"]


async def test_cancel(client: AsyncClient, server: LocalCyberun) -> None:
    """A task that is cancelled stays so, and cancelling it once more does no harm."""
    task_id = await client.workflows.run("text-to-image", {"prompt": "x"})
    await client.tasks.cancel(task_id)
    await client.tasks.cancel(task_id)

    assert (await client.tasks.get(task_id)).status == TaskStatus.CANCELLED
    assert [exchange.status for exchange in server.requests] == [202, 200, 200, 200]


@pytest.mark.usefixtures("short_pages")
async def test_list_tasks(client: AsyncClient, server: LocalCyberun) -> None:
    """All tasks are listed over as many pages as it takes, and those of one status where that is asked."""
    ids = await submit_many(client, 13)
    for task_id in ids[:3]:
        await client.tasks.cancel(task_id)
    listed = [task.id async for task in client.tasks.list()]
    cancelled = [task async for task in client.tasks.list(status=TaskStatus.CANCELLED)]

    assert sorted(listed) == sorted(ids)
    assert len(set(listed)) == len(listed)
    assert sorted(task.id for task in cancelled) == sorted(ids[:3])
    assert asked(server)[-3:] == ["tasks.list"] * 3
    assert [dict(exchange.query) for exchange in server.requests[-3:]] == [
        {"current_page": "1", "per_page": "10"},
        {"current_page": "2", "per_page": "10"},
        {"current_page": "1", "per_page": "10", "status": "cancelled"},
    ]


async def test_list_tasks_by_a_new_word(client: AsyncClient) -> None:
    """A status that this version does not know is asked for as it is; what the server thinks of it comes back."""
    with pytest.raises(BadRequestError, match="status must be one of"):
        await anext(aiter(client.tasks.list(status="paused")))


@pytest.mark.usefixtures("short_pages")
async def test_tasks_submitted_while_they_are_listed(client: AsyncClient) -> None:
    """What is added in front of a list meanwhile neither hides nor repeats what was there."""
    ids = await submit_many(client, 13)
    listed: list[str] = []
    numbers = count()
    async for task in client.tasks.list():
        listed.append(task.id)
        if next(numbers) == 9:
            await submit_many(client, 2)

    assert set(ids) <= set(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.usefixtures("short_pages")
async def test_tasks_that_end_while_they_are_listed(client: AsyncClient) -> None:
    """What leaves a list meanwhile does not take others with it."""
    ids = await submit_many(client, 13)
    listed: list[str] = []
    async for task in client.tasks.list(status="pending"):
        listed.append(task.id)
        if len(listed) == 10:
            for task_id in listed[:4]:
                await client.tasks.cancel(task_id)

    assert sorted(listed) == sorted(ids)


@pytest.mark.usefixtures("short_pages")
async def test_leaving_a_list_early(client: AsyncClient, server: LocalCyberun) -> None:
    """A list can be left at any item; nothing is open, and no page is read in advance."""
    await submit_many(client, 11)
    async for _ in client.tasks.list():
        break

    assert asked(server).count("tasks.list") == 1


@pytest.mark.usefixtures("short_pages")
async def test_one_list_for_several_tasks(client: AsyncClient) -> None:
    """Several workers may take from one list, and each item goes to one of them."""
    ids = await submit_many(client, 21)
    tasks = client.tasks.list()
    taken: list[str] = []

    async def work() -> None:
        async for task in tasks:
            taken.append(task.id)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(work)

    assert sorted(taken) == sorted(ids)


@pytest.mark.usefixtures("short_pages")
async def test_a_list_goes_on_after_a_failure(client: AsyncClient, server: LocalCyberun) -> None:
    """After a page that failed, the next step asks for that page again."""
    ids = await submit_many(client, 11)
    tasks = client.tasks.list()
    listed = [(await anext(tasks)).id for _ in range(10)]
    server.revoke(server.api_key)
    with pytest.raises(AuthenticationError):
        await anext(tasks)
    server._accounts._revoked.clear()
    listed += [task.id async for task in tasks]

    assert sorted(listed) == sorted(ids)
    with pytest.raises(StopAsyncIteration):
        await anext(tasks)


async def test_a_list_goes_on_after_a_cancellation(client: AsyncClient) -> None:
    """A step that is cancelled can be taken again."""
    ids = await submit_many(client, 3)
    tasks = client.tasks.list()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(tasks)

    assert sorted([task.id async for task in tasks]) == sorted(ids)


# Files, agents


async def test_presign(client: AsyncClient, server: LocalCyberun) -> None:
    """A place for a file comes with the key to name it by, a link, and what must be sent along."""
    upload = await client.files.presign("in.png", 1048576, "image/png")

    assert upload.file_key.endswith("in.png")
    assert upload.upload_url.startswith("http://127.0.0.1:")
    assert upload.upload_headers["Content-Length"] == "1048576"
    assert server.requests[0].body == b'{"file_name":"in.png","file_size":1048576,"content_type":"image/png"}'
    assert upload.upload_url not in repr(upload)


async def test_agents(client: AsyncClient) -> None:
    """The machines of the team are listed with what they are and do."""
    (agent,) = [agent async for agent in client.agents.list()]

    assert agent.id
    assert agent.status in {"idle", "busy"}
    assert agent.labels


# Containers, webhooks


async def test_containers(client: AsyncClient, server: LocalCyberun) -> None:
    """A service is found in the list and by its slug, and a call goes through to it."""
    services = {service.slug: service async for service in client.containers.list()}
    answer = await client.containers.invoke(
        "echo", "POST", "/x?y=z", content=b"ahoy", headers={"X-Mine": "1", "Authorization": "mine"}
    )

    assert services["echo"] == await client.containers.get("echo")
    assert answer.status_code == 200
    assert json.loads(answer.content) == {
        "method": "POST",
        "path": "/x?y=z",
        "headers": {"X-Mine": "1"},
        "body_base64": "YWhveQ==",
    }
    with pytest.raises(ConflictError, match="not running"):
        await client.containers.invoke("asleep", "GET", "/")


async def test_webhooks(server: LocalCyberun, client: AsyncClient) -> None:
    """A webhook is made, read, changed and given a new secret, by a key that may manage the team."""
    async with AsyncClient(server.device_key, base_url=server.base_url) as manager:
        made = await manager.webhooks.create("Mine", "http://127.0.0.1:9/hook", ["task.completed", "task.failed"])
        before = await manager.webhooks.get(made.id)
        await manager.webhooks.update(made.id, url="https://example.com/other", status="paused")
        secret = await manager.webhooks.rotate_secret(made.id)
        after = await manager.webhooks.get(made.id)

    assert (before.display_name, before.url, before.status) == ("Mine", "http://127.0.0.1:9/hook", "active")
    assert (after.display_name, after.url, after.status) == ("Mine", "https://example.com/other", "paused")
    assert before.events == after.events == ("task.completed", "task.failed")
    assert before.secret != after.secret == secret
    assert secret not in repr(after)
    with pytest.raises(PermissionDeniedError):
        await client.webhooks.get(made.id)


# What can go wrong


async def test_not_found(client: AsyncClient) -> None:
    """What does not exist is an error that names the request, and the task."""
    for call, task_id in (
        (client.tasks.get(NOBODY), NOBODY),
        (client.tasks.result(NOBODY), NOBODY),
        (client.tasks.cancel(NOBODY), NOBODY),
        (client.workflows.get(NOBODY), None),
        (client.workflows.get("no-such-workflow"), None),
        (client.workflows.run("no-such-workflow", {}), None),
        (client.containers.get("no-such-service"), None),
    ):
        with pytest.raises(NotFoundError, match="failed with 404: resource not found") as caught:
            await call
        assert caught.value.task_id == task_id


async def test_wrong_key(server: LocalCyberun) -> None:
    """A key that the server does not know is an error that does not show it."""
    key = "sk-0123456789abcdef"
    async with AsyncClient(key, base_url=server.base_url) as client:
        for items in (client.workflows.list(), client.tasks.list(), client.agents.list()):
            with pytest.raises(AuthenticationError) as caught:
                await anext(items)
            assert key not in f"{caught.value!s} {vars(caught.value)}"


HOSTILE = [
    "../x",
    "../../workflows",
    "a/b",
    "a/../b",
    "?status=running",
    "x?y#z",
    "#",
    "%2e",
    "%2e%2e",
    "%2e%2e%2fworkflows",
    "..;/x",
    "\\..\\x",
    " ",
    "x\r\nX-Injected: yes",
    "größe",
    "画像",
    "@",
    "...",
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@table("ref", [pytest.param(ref, id=ascii(ref)) for ref in HOSTILE])
async def test_no_id_changes_the_route(client: AsyncClient, server: LocalCyberun, ref: str) -> None:
    """Whatever an id or a slug holds, the request goes where it should, with the id in its one segment."""
    calls = {
        "workflows.get": lambda: client.workflows.get(ref),
        "workflows.run": lambda: client.workflows.run(ref, {}),
        "tasks.get": lambda: client.tasks.get(ref),
        "tasks.result": lambda: client.tasks.result(ref),
        "tasks.cancel": lambda: client.tasks.cancel(ref),
        "containers.get": lambda: client.containers.get(ref),
        "containers.invoke": lambda: client.containers.invoke(ref, "GET", "/"),
    }
    before = len(server.requests)
    for call in calls.values():
        with pytest.raises(NotFoundError):
            await call()

    sent = server.requests[before:]
    assert [exchange.operation for exchange in sent] == list(calls)
    for exchange in sent:
        assert ref in [unquote(segment) for segment in exchange.path.split("/")]
        assert not exchange.query
        assert "x-injected" not in exchange.headers


@table("ref", ["", ".", "..", "\ud800", None, 5])
async def test_no_request_for_what_is_no_id(client: AsyncClient, server: LocalCyberun, ref: str) -> None:
    """What cannot be one segment of a path is refused before anything is sent."""
    calls = (
        lambda: client.workflows.get(ref),
        lambda: client.workflows.run(ref, {}),
        lambda: client.submit(ref, {}),
        lambda: client.tasks.get(ref),
        lambda: client.tasks.result(ref),
        lambda: client.tasks.cancel(ref),
        lambda: client.containers.get(ref),
        lambda: client.containers.invoke(ref, "GET", "/"),
        lambda: client.webhooks.get(ref),
    )
    for call in calls:
        with pytest.raises(InvalidParameters):
            await call()
    with pytest.raises(InvalidParameters):
        client.events(ref)

    assert asked(server) == []


# Checking parameters before they are submitted


async def test_a_definition_is_read_once(client: AsyncClient, server: LocalCyberun) -> None:
    """Tasks of one workflow need its definition once, also where they are submitted all at once."""
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(client.submit, "text-to-image", {"prompt": str(number)})
    await client.submit("text-to-image", {"prompt": "one more"})

    assert (asked(server).count("workflows.get"), asked(server).count("workflows.run")) == (1, 21)


async def test_only_a_fresh_definition_refuses(client: AsyncClient, server: LocalCyberun) -> None:
    """A workflow that has got a new parameter takes it at once, since a refusal is looked into first."""
    server.add_workflow(LocalWorkflow("mine", parameters=(LocalParameter("a"),), script=[scripts.after(1)]))
    await client.submit("mine", {"a": "x"})
    with pytest.raises(InvalidParameters, match="'b' is not a parameter of this workflow"):
        await client.submit("mine", {"b": "x"})
    server.add_workflow(LocalWorkflow("mine", parameters=(LocalParameter("b"),), script=[scripts.after(1)]))
    await client.submit("mine", {"b": "x"})
    await client.submit("mine", {"b": "y"})

    read, run = "workflows.get", "workflows.run"
    assert asked(server) == [read, run, read, read, run, run]


async def test_nothing_is_submitted_that_does_not_fit(client: AsyncClient, server: LocalCyberun) -> None:
    """Every problem is told at once, and nothing was billed."""
    with pytest.raises(InvalidParameters) as caught:
        await client.submit("text-to-image", {"prompts": "x", "steps": "many", "seed": -1})

    assert len(caught.value.problems) == 4
    assert asked(server) == ["workflows.get"]


async def test_without_a_check(client: AsyncClient, server: LocalCyberun) -> None:
    """With `validate=False` nothing is read first, and what the server thinks of it comes back."""
    with pytest.raises(BadRequestError, match="'prompt' is required"):
        await client.submit("text-to-image", {"prompts": "x"}, validate=False)

    assert asked(server) == ["workflows.run"]


async def test_what_has_no_json_form(client: AsyncClient, server: LocalCyberun) -> None:
    """A value that cannot be sent is refused before a task is there."""
    for value in ({1, 2}, float("nan"), "\ud800"):
        with pytest.raises(InvalidParameters):
            await client.submit("text-to-image", {"prompt": value}, validate=False)

    assert asked(server) == []


async def test_a_definition_that_cannot_be_read(client: AsyncClient, server: LocalCyberun) -> None:
    """Where the definition cannot be read, everybody who waits for it is told, and the next one asks again."""
    failures: list[CyberunError] = []

    async def submit() -> None:
        with pytest.raises(NotFoundError) as caught:
            await client.submit("mine", {"a": "x"})
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(submit)
    server.add_workflow(LocalWorkflow("mine", parameters=(LocalParameter("a"),), script=[scripts.after(1)]))
    await client.submit("mine", {"a": "x"})

    assert len(failures) == 5


async def test_the_first_reader_may_leave(client: AsyncClient, server: LocalCyberun) -> None:
    """Where the one who reads a definition for all is cancelled, another one reads it."""
    server.faults.latency(30, on="workflows.get")
    ids: list[str] = []

    async def submit() -> None:
        ids.append(await client.submit("text-to-image", {"prompt": "x"}))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as inner:
                inner.start_soon(submit)
                while not asked(server):
                    await anyio.lowlevel.checkpoint()
                group.start_soon(submit)
                await anyio.wait_all_tasks_blocked()
                first.cancel()

    assert len(ids) == 1


async def test_many_workflows(client: AsyncClient, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of workflows is bounded: the one that was read longest ago is read again."""
    monkeypatch.setattr("cyberun_async._resources.submitting.MAX_REMEMBERED", 2)
    for slug in "abc":
        server.add_workflow(LocalWorkflow(slug, parameters=(LocalParameter("x"),), script=[scripts.after(1)]))
    for slug in "abcca":
        await client.submit(slug, {"x": "y"})

    read = [exchange.path[-1] for exchange in server.requests if exchange.operation == "workflows.get"]
    assert read == ["a", "b", "c", "a"]
