"""What differs is reported as a difference, with whether the client lives with it; and the storage is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from batch.conftest import eventually
from support.samples import CONTAINER

from cyberun_async import AsyncClient, conformance
from cyberun_async.conformance._checks import Conformance
from cyberun_async.conformance._report import Differs, finding_of
from cyberun_async.conformance._tables import CONTAINER as TABLE
from cyberun_async.conformance._tables import problems
from cyberun_async.local.scripts import after, complete, progress, raw, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyberun_async.local import Faults, LocalCyberun

WORKFLOW = "text-to-image"
PARAMETERS = {"prompt": "a lighthouse", "width": 64, "height": 64}
LIVES = "The client tolerates that"
DIES = "The client cannot read that: "


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param("/openapi.json", [], id="a path on the container"),
        pytest.param("https://example.com/openapi.json", ["openapi_url is a str that is no path"], id="a URL"),
        pytest.param(5, ["openapi_url is a int that is no path"], id="a number"),
    ],
)
def test_where_a_container_describes_its_api(path: object, found: list[str]) -> None:
    """A container's `openapi_url` is documented as a path on the container."""
    assert problems({**CONTAINER, "openapi_url": path}, TABLE) == found


@pytest.mark.parametrize(
    ("answers", "name", "said"),
    [
        pytest.param({"/r/workflows": [{"id": "x"}]}, "workflows.list", f"has no workflow_list. {LIVES}", id="array"),
        pytest.param({"/r/workflows": {"a": 1}}, "workflows.list", DIES + "$: workflow_list is missing", id="no list"),
        pytest.param(
            {"/r/workflows": {"workflow_list": [], "page_meta": "1/1"}}, "workflows.list", LIVES, id="length as text"
        ),
        pytest.param(
            {"/r/workflows": {"workflow_list": [{"id": 5}], "page_meta": {}}}, "workflows.list", LIVES, id="a number"
        ),
        pytest.param(
            {"/r/agents": {"agent_list": [{}], "page_meta": {"current_page": 1, "per_page": 1, "total_count": 1}}},
            "agents.list",
            DIES + "$: agent_id is missing",
            id="an agent without an id",
        ),
        pytest.param({}, "refusals", f"error_message is missing. {LIVES}", id="an error in another form"),
    ],
)
async def test_whether_the_client_lives_with_it(answers: dict[str, object], name: str, said: str) -> None:
    """A difference is a failure of its check, and says whether the client can read the response all the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        return httpx.Response(200, json=answers[path]) if path in answers else httpx.Response(404, json={"error": "no"})

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
        AsyncClient("sk-0123456789abcdef", base_url="http://127.0.0.1/api/v1", http_client=http_client) as client,
    ):
        (finding,) = [each for each in (await conformance.check(client)).findings if each.name == name]

    assert finding.outcome == "fail"
    assert said in finding.detail


async def test_an_error_without_words(server: LocalCyberun, client: AsyncClient) -> None:
    """An error response in which there are no words is one that the client cannot live with."""
    server.faults.malformed("{}", on="tasks.get")
    server.faults.status(404, on="tasks.get")
    finding = await finding_of("refusals", Conformance(client, None, {}, 1).refuse)

    assert finding.outcome == "fail"
    assert DIES in finding.detail


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param(lambda _: None, "pass", id="as it should be"),
        pytest.param(lambda faults: faults.status(403, on="storage.*", times=None), "fail", id="all links refused"),
    ],
)
async def test_the_storage_is_touched(
    server: LocalCyberun, client: AsyncClient, fault: Callable[[Faults], object], outcome: str
) -> None:
    """A deployment whose presigned URLs all fail does not pass."""
    run = Conformance(client, None, {}, 1, task_id=(await client.run(WORKFLOW, PARAMETERS)).id)
    await run.list_tasks()
    fault(server.faults)

    findings = [await finding_of("get", run.get_file), await finding_of("put", run.upload)]

    assert [finding.outcome for finding in findings] == [outcome, outcome]


async def test_a_task_without_files(server: LocalCyberun, client: AsyncClient) -> None:
    """Where a task has no files, there is nothing to touch the storage with."""
    server.script(WORKFLOW, [complete({})])
    await client.run(WORKFLOW, PARAMETERS)
    run = Conformance(client, None, {}, 1)
    await run.list_tasks()

    assert (await finding_of("get", run.get_file)).outcome == "skip"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        pytest.param([progress(1, 2)], "came twice: completed, progress, status", id="each event twice"),
        pytest.param(
            [raw(b'event: progress\ndata: {\n  "task_id": "019abc12-9012-7890-abcd-ef1234567896"\n}\n\n')],
            "in lines without data:",
            id="lines without data",
        ),
    ],
)
async def test_odd_streams_are_found(server: LocalCyberun, client: AsyncClient, steps: list[object], said: str) -> None:
    """Events that come twice, or are written otherwise, are found."""
    server.faults.duplicate_events(times=None if "twice" in said else 0)
    server.script(WORKFLOW, [after(3600), status("running"), *steps, complete({})])  # type: ignore[list-item]
    run = Conformance(client, None, {}, 10, task_id=await client.submit(WORKFLOW, PARAMETERS))
    async with anyio.create_task_group() as group:
        group.start_soon(finding_of, "stream", run.stream)
        await eventually(lambda: [each for each in server.requests if each.operation == "tasks.events" and each.status])
        await server.clock.advance(3600)

    with pytest.raises(Differs, match=said):
        await run.hold_events()
