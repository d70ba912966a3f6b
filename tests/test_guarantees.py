"""Each fault of the local Cyberun against what the SDK guarantees; docs/testing.md lists which is which."""

from __future__ import annotations

import inspect
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import pytest
from batch.conftest import eventually

from cyberun_async import (
    AsyncClient,
    CompletedEvent,
    DecodeError,
    Limits,
    Polling,
    Retries,
    ServerError,
    StorageError,
    TaskEvent,
    TaskResult,
    Timeouts,
    TransportError,
    TransportTimeout,
)
from cyberun_async.local import Faults, LocalCyberun
from cyberun_async.local.scripts import Step, after, complete, progress, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
WORKFLOW = "text-to-image"
PARAMETERS = {"prompt": "a lighthouse", "width": 64, "height": 64}
QUICK = Polling(interval=0.02, interval_while_streaming=0.04)
SELDOM = Polling(interval=60)
"""So seldom that the first event of a new task comes once its stream is open."""
AT_ONCE = Retries(initial=0.01)
NEVER = Retries(budget=0)


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a server whose tasks take milliseconds."""
    with LocalCyberun(pace=0.001) as running:
        yield running


@asynccontextmanager
async def client_of(
    server: LocalCyberun,
    *,
    polling: Polling = QUICK,
    retries: Retries = AT_ONCE,
    timeouts: Timeouts = Timeouts(),
    limits: Limits = Limits(),
) -> AsyncIterator[AsyncClient]:
    """Open a client that looks often and tries again at once."""
    async with AsyncClient(
        server.api_key, base_url=server.base_url, polling=polling, retries=retries, timeouts=timeouts, limits=limits
    ) as client:
        yield client


def count(server: LocalCyberun, operation: str) -> int:
    """Count the requests of one kind."""
    return [exchange.operation for exchange in server.requests].count(operation)


async def finished(client: AsyncClient) -> str:
    """Have a task that has completed."""
    return (await client.run(WORKFLOW, PARAMETERS)).id


async def picture(client: AsyncClient, task_id: str) -> bytes:
    """Give the file of a task as it should be."""
    (file,) = (await client.tasks.result(task_id)).files
    return await client.read_file(file)


async def run_past_the_fault(
    server: LocalCyberun, client: AsyncClient, *steps: Step, on_event: Callable[[TaskEvent], object] | None = None
) -> TaskResult:
    """Run a task that stays pending until a fault has struck."""

    async def go_on() -> None:
        await eventually(lambda: server.faults.fired)
        await server.clock.advance(3600)

    server.script(WORKFLOW, [after(3600), *steps, complete()])
    async with anyio.create_task_group() as group:
        group.start_soon(go_on)
        return await client.run(WORKFLOW, PARAMETERS, on_event=on_event)


# Calls


async def test_a_read_is_repeated(server: LocalCyberun) -> None:
    """A server that fails for a moment is asked again, and the caller sees only the answer."""
    async with client_of(server) as client:
        task_id = await finished(client)
        before = count(server, "tasks.get")
        server.faults.status(503, on="tasks.get", times=3)
        assert (await client.tasks.get(task_id)).id == task_id
        assert count(server, "tasks.get") == before + 4


async def test_a_submission_that_may_have_arrived_is_not_repeated(server: LocalCyberun) -> None:
    """A submission that the server fails on is sent once: another might be billed as well."""
    async with client_of(server) as client:
        server.faults.status(503, on="workflows.run")
        with pytest.raises(ServerError):
            await client.submit(WORKFLOW, PARAMETERS)
    assert count(server, "workflows.run") == 1


async def test_a_submission_refused_for_its_rate_is_repeated(server: LocalCyberun) -> None:
    """A 429 says that nothing was done, so the submission is sent again, and there is one task."""
    async with client_of(server) as client:
        server.faults.status(429, on="workflows.run", headers={"Retry-After": "0"})
        task_id = await client.submit(WORKFLOW, PARAMETERS)
        assert [task.id async for task in client.tasks.list()] == [task_id]


async def test_a_slow_answer_is_a_timeout(server: LocalCyberun) -> None:
    """A call that takes too long fails in time, by an error that is a TimeoutError."""
    async with client_of(server, retries=NEVER, timeouts=Timeouts(call=0.05)) as client:
        server.faults.latency(60, on="tasks.get")
        with pytest.raises(TransportTimeout) as caught:
            await client.tasks.get("x")
    assert isinstance(caught.value, TimeoutError)


async def test_a_lost_reply_to_a_submission_is_told(server: LocalCyberun) -> None:
    """Where the reply is lost there may be a task: the error says so, and nothing is submitted twice."""
    async with client_of(server) as client:
        server.faults.lose_reply(on="workflows.run")
        with pytest.raises(TransportError) as caught:
            await client.submit(WORKFLOW, PARAMETERS)
        assert caught.value.may_have_been_sent
        assert len([task async for task in client.tasks.list()]) == 1


@pytest.mark.parametrize("at", ["start", "head", "headers", "body"])
async def test_a_cut_connection_is_made_again(
    server: LocalCyberun, at: Literal["start", "head", "headers", "body"]
) -> None:
    """Wherever the connection breaks, a read is sent again on another one."""
    async with client_of(server) as client:
        task_id = await finished(client)
        server.faults.reset(at, on="tasks.get")
        assert (await client.tasks.get(task_id)).id == task_id
    assert [name for name, _ in server.faults.fired] == ["reset"]


async def test_a_huge_answer_is_not_taken_in(server: LocalCyberun) -> None:
    """An answer past the limit is an error, and not memory."""
    async with client_of(server, limits=Limits(max_response_bytes=10_000)) as client:
        task_id = await finished(client)
        server.faults.oversize(20_000, on="tasks.get")
        with pytest.raises(DecodeError, match="more than 10000 bytes"):
            await client.tasks.get(task_id)


async def test_an_answer_that_is_no_json(server: LocalCyberun) -> None:
    """An answer that makes no sense is our own error, which names the call."""
    async with client_of(server) as client:
        task_id = await finished(client)
        server.faults.malformed(on="tasks.get")
        with pytest.raises(DecodeError, match="GET /r/tasks"):
            await client.tasks.get(task_id)


async def test_a_trickle_does_not_stretch_the_time_limit(server: LocalCyberun) -> None:
    """A byte now and then does not keep a call alive beyond its limit."""
    async with client_of(server, retries=NEVER, timeouts=Timeouts(call=0.15)) as client:
        server.faults.trickle(every=0.03, on="workflows.list")
        with pytest.raises(TransportTimeout):
            await anext(aiter(client.workflows.list()))


# What tasks say


async def test_new_fields_are_ignored(server: LocalCyberun) -> None:
    """Fields that are new change nothing."""
    async with client_of(server) as client:
        task_id = await finished(client)
        before = await client.tasks.get(task_id)
        server.faults.unknown_fields(on="tasks.get")
        assert await client.tasks.get(task_id) == before


async def test_a_new_status_is_not_the_end(server: LocalCyberun) -> None:
    """A status word that nobody knows survives as itself, and the wait goes on."""
    async with client_of(server) as client:
        server.faults.silent_stream(times=None)
        server.faults.unknown_status("hibernating", on="tasks.get", times=2)
        assert (await client.run(WORKFLOW, PARAMETERS)).status == "completed"
        server.faults.unknown_status("hibernating", on="tasks.get")
        status = (await client.tasks.get(await client.submit(WORKFLOW, PARAMETERS))).status
    assert (status, status.is_known, status.is_terminal) == ("hibernating", False, False)


async def test_odd_answers_change_nothing(server: LocalCyberun) -> None:
    """Responses that differ from their pages end as those that do not."""
    async with client_of(server) as client:
        server.faults.odd_answers(seed=1)
        result = await client.run(WORKFLOW, PARAMETERS)
    assert (result.status, len(result.files)) == ("completed", 1)


async def test_a_result_that_lags_behind_is_waited_for(server: LocalCyberun) -> None:
    """A wait gives the result only once that says the task has ended, with its files."""
    async with client_of(server) as client:
        server.faults.lagging_result(times=2)
        result = await client.run(WORKFLOW, PARAMETERS)
    assert (result.status, len(result.files)) == ("completed", 1)


# Files


async def test_a_download_goes_on_where_it_broke(server: LocalCyberun, tmp_path: Path) -> None:
    """A download that is cut asks for the rest, and the file is whole."""
    async with client_of(server) as client:
        task_id = await finished(client)
        whole = await picture(client, task_id)
        server.faults.truncate(100, on="storage.get")
        (path,) = await client.download(task_id, tmp_path)
    assert path.read_bytes() == whole
    assert server.requests[-1].headers["range"].startswith("bytes=100-")


async def test_a_short_file_is_never_taken_for_the_whole(server: LocalCyberun, tmp_path: Path) -> None:
    """A file that ends early, as if it were whole, does not get its name."""
    async with client_of(server) as client:
        task_id = await finished(client)
        server.faults.short(100, on="storage.get", times=None)
        with pytest.raises(StorageError):
            await client.download(task_id, tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


async def test_a_dead_link_is_renewed(server: LocalCyberun, tmp_path: Path) -> None:
    """A link that has expired is asked for again, and the download goes on."""
    async with client_of(server) as client:
        task_id = await finished(client)
        server.faults.link_lifetime(0, on="tasks.result")
        (path,) = await client.download(task_id, tmp_path)
        assert path.read_bytes() == await picture(client, task_id)


# Streams


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_stream_that_breaks_goes_on(server: LocalCyberun, how: Literal["reset", "close"]) -> None:
    """Events go on to the task's end, which is told once, however often the stream breaks."""
    steps = [progress(step, 10) for step in range(10)]
    server.script(WORKFLOW, [after(3600), status("running"), *steps, after(3600), complete()])
    server.faults.cut_stream(after=400, how=how, times=3)
    events: list[TaskEvent] = []
    async with client_of(server, polling=SELDOM) as client:
        async for event in client.events(await client.submit(WORKFLOW, PARAMETERS)):
            events.append(event)
            await server.clock.advance(3600)
    assert "cut_stream" in [name for name, _ in server.faults.fired]
    assert [isinstance(event, CompletedEvent) for event in events].index(True) == len(events) - 1


@pytest.mark.parametrize("fault", ["silent_stream", "heartbeats", "content_type", "status"])
async def test_a_wait_needs_no_stream(server: LocalCyberun, fault: str) -> None:
    """A task's end is found though its streams say nothing, only that they are alive, or are none."""
    break_streams = {
        "silent_stream": lambda faults: faults.silent_stream(times=None),
        "heartbeats": lambda faults: faults.heartbeats(every=0.001, times=None),
        "content_type": lambda faults: faults.content_type("text/html", on="tasks.events", times=None),
        "status": lambda faults: faults.status(502, on="tasks.events", times=None),
    }
    break_streams[fault](server.faults)
    async with client_of(server) as client:
        assert (await run_past_the_fault(server, client)).status == "completed"
    assert fault in [name for name, _ in server.faults.fired]


@pytest.mark.parametrize("fault", ["duplicate_events", "reorder_events"])
async def test_the_end_is_told_once_and_last(server: LocalCyberun, fault: str) -> None:
    """Events that come twice or out of order still end with the end, and with it once."""
    change = {
        "duplicate_events": lambda faults: faults.duplicate_events(times=None),
        "reorder_events": lambda faults: faults.reorder_events(times=None),
    }
    change[fault](server.faults)
    steps = [status("running"), progress(1, 2), after(5), progress(2, 2)]
    events: list[TaskEvent] = []
    async with client_of(server) as client:
        result = await run_past_the_fault(server, client, *steps, on_event=events.append)
    assert result.status == "completed"
    assert [isinstance(event, CompletedEvent) for event in events].index(True) == len(events) - 1
    assert fault in [name for name, _ in server.faults.fired]


async def test_the_result_decides_how_a_task_ended(server: LocalCyberun) -> None:
    """A stream that tells of a failure where there was none does not make one."""
    server.faults.conflicting_end("failed", times=None)
    async with client_of(server, polling=SELDOM) as client:
        assert (await run_past_the_fault(server, client)).status == "completed"
    assert "conflicting_end" in [name for name, _ in server.faults.fired]


# The list


def listed() -> dict[str, list[str]]:
    """Give the table of the docs: the tests that stand beside each fault."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| ((?:`\w+`(?:, )?)+) \|$", PAGE.read_text(), re.MULTILINE)
    return {fault: re.findall(r"`(\w+)`", tests) for fault, tests in rows}


FAULTS = [
    name
    for name, method in inspect.getmembers(Faults, inspect.isfunction)
    if inspect.signature(method).return_annotation == "Fault" and not name.startswith("_")
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_docs_list_each_fault_with_tests_that_use_it(fault: str) -> None:
    """Whoever looks up a fault finds what the SDK guarantees under it, and tests that are there and use it."""
    tests = listed()[fault]
    assert tests
    for name in tests:
        assert f"faults.{fault}(" in inspect.getsource(globals()[name])


def test_the_docs_list_no_fault_that_is_none() -> None:
    """The table has the faults that there are."""
    assert sorted(listed()) == sorted(FAULTS)
