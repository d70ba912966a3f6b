"""The documents' promises: kept by the local Cyberun, and missed where it is told to break them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cyberun_async import conformance
from cyberun_async.conformance._checks import Conformance
from cyberun_async.conformance._report import Differs
from cyberun_async.local.scripts import after, complete, event, progress, status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cyberun_async import AsyncClient
    from cyberun_async.conformance import Finding, Report
    from cyberun_async.local import LocalCyberun
    from cyberun_async.local._faults import Faults
    from cyberun_async.local.scripts import Step

WORKFLOW = "text-to-image"
PARAMETERS = {"prompt": "a lighthouse", "width": 64, "height": 64}
OF_A_TASK = {
    "submit.run",
    "submit.stream",
    "submit.events",
    "submit.result",
    "submit.cancel",
    "submit.presign",
    "submit.upload",
}


def found(report: Report, name: str) -> Finding:
    """Give what one check found."""
    (finding,) = [finding for finding in report.findings if finding.name == name]
    return finding


async def test_the_local_cyberun_keeps_them(server: LocalCyberun, client: AsyncClient) -> None:
    """With tasks there, every check that only reads passes, and nothing is done but reading."""
    for _ in range(2):
        await client.run(WORKFLOW, PARAMETERS)
    before = len(server.requests)
    report = await conformance.check(client)
    assert {finding.name for finding in report.findings if finding.outcome == "skip"} == OF_A_TASK
    assert report.is_good, str(report)
    assert {exchange.method for exchange in server.requests[before:]} == {"GET"}


async def test_a_new_team_is_no_failure(client: AsyncClient) -> None:
    """Where there are no tasks yet, what needs one is skipped."""
    report = await conformance.check(client)
    assert report.is_good
    assert {found(report, f"tasks.{name}").outcome for name in ("list", "pages", "filter", "get", "result")} == {"skip"}


@pytest.mark.slow
@pytest.mark.covering
async def test_with_a_task_of_its_own(server: LocalCyberun, client: AsyncClient) -> None:
    """Told to submit, it submits one task, and holds all that the task shows against the documents."""
    server.script(
        WORKFLOW, [IN_A_SECOND, *[step for n in range(9) for step in (status("running"), progress(n, 9))], complete()]
    )
    report = await conformance.check(client, submit=WORKFLOW, parameters=PARAMETERS)
    assert report.is_good, str(report)
    # A task without time in it may be over before its first event is there.
    assert {finding.name for finding in report.findings if finding.outcome == "skip"} & OF_A_TASK <= {"submit.stream"}
    assert [exchange.operation for exchange in server.requests].count("workflows.run") == 1
    assert str(report).startswith(server.base_url)


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("workflows.list", lambda faults: faults.malformed(on="workflows.list"), "not JSON"),
        ("workflows.list", lambda faults: faults.malformed("[]", on="workflows.list"), "no workflow_list"),
        ("workflows.list", lambda faults: faults.malformed('{"workflow_list": 1}', on="workflows.list"), "no list"),
        ("workflows.get", lambda faults: faults.unknown_fields(on="workflows.get", after=1), "another than by its id"),
        ("tasks.list", lambda faults: faults.unknown_status(on="tasks.list"), "task_status is 'hibernating'"),
        ("tasks.pages", lambda faults: faults.malformed('{"task_list": []}', on="tasks.list", after=1), "of 0, 1"),
        ("tasks.filter", lambda faults: faults.unknown_status(on="tasks.list", after=3), "that are hibernating"),
        ("tasks.get", lambda faults: faults.malformed("[]", on="tasks.get"), "no object"),
        ("tasks.get", lambda faults: faults.status(500, on="tasks.get"), "failed with 500"),
        ("tasks.result", lambda faults: faults.malformed('{"id": 1}', on="tasks.result"), "task_status is missing"),
        ("tasks.result", lambda faults: faults.reset(on="tasks.result"), "got no response"),
        ("refusals", lambda faults: faults.status(410, on="tasks.get", after=1), "with 410 instead of 404"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_differences_are_found(
    server: LocalCyberun, client: AsyncClient, name: str, fault: Callable[[Faults], object], said: str
) -> None:
    """What is not as the documents have it fails the check of that name, which says how, and no other ends."""
    for _ in range(2):
        await client.run(WORKFLOW, PARAMETERS)
    fault(server.faults)
    report = await conformance.check(client)
    assert found(report, name).outcome == "fail"
    assert said in found(report, name).detail
    assert report.failures[0].name == name
    assert found(report, "agents.list").outcome == "pass"


async def test_the_same_page_twice_is_found(server: LocalCyberun, client: AsyncClient) -> None:
    """A server that ignores the number of the page fails."""
    await client.run(WORKFLOW, PARAMETERS)
    await client.run(WORKFLOW, PARAMETERS)
    server.faults.malformed('{"task_list": [{"id": "x"}]}', on="tasks.list", after=1, times=2)
    assert "same task" in found(await conformance.check(client), "tasks.pages").detail


async def test_new_fields_are_told_and_no_failure(server: LocalCyberun, client: AsyncClient) -> None:
    """A field that no document names is mentioned, since the API may grow."""
    await client.run(WORKFLOW, PARAMETERS)
    server.faults.unknown_fields(on="tasks.get")
    finding = found(await conformance.check(client), "tasks.get")
    assert finding.outcome == "pass"
    assert "x_another, x_new_field" in finding.detail


async def test_a_plan_without_containers(server: LocalCyberun, client: AsyncClient) -> None:
    """A 403 for containers says something about the plan, and nothing about the documents."""
    server.faults.status(403, on="containers.list")
    assert found(await conformance.check(client), "containers.list").outcome == "skip"


NEVER_ENDS = [status("running"), progress(1, 2)]
IN_A_SECOND = after(1000)
"""By then the stream is open."""


@pytest.mark.slow
@pytest.mark.covering
@pytest.mark.parametrize(
    ("name", "script", "fault", "said"),
    [
        ("submit.run", None, lambda faults: faults.malformed("{}", on="workflows.run"), "task_id is missing"),
        ("submit.run", None, lambda faults: faults.status(200, on="workflows.run"), "with 200 instead of 202"),
        ("submit.stream", None, lambda faults: faults.silent_stream(), "buffered"),
        ("submit.stream", None, lambda faults: faults.status(500, on="tasks.events"), "did not get through"),
        ("submit.stream", None, lambda faults: faults.cut_stream(after=0, how="close"), "ended before the task"),
        ("submit.events", [IN_A_SECOND, event("party", {}), complete()], None, "no document names: party"),
        (
            "submit.events",
            [IN_A_SECOND, event("progress", {"progress": 7}), complete()],
            None,
            "progress is a int that is no share",
        ),
        (
            "submit.events",
            None,
            lambda faults: faults.cut_stream(after=300, how="close"),
            "without the event that ends",
        ),
        ("submit.result", None, lambda faults: faults.conflicting_end(), "says completed where the stream said failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_differences_of_a_task_are_found(
    server: LocalCyberun,
    client: AsyncClient,
    *,
    name: str,
    script: Sequence[Step] | None,
    fault: Callable[[Faults], object] | None,
    said: str,
) -> None:
    """What a task shows otherwise than the documents fails the check of that name, which says how."""
    if script is not None:
        server.script(WORKFLOW, script)
    if fault is not None:
        fault(server.faults)
    finding = found(await conformance.check(client, submit=WORKFLOW, parameters=PARAMETERS), name)
    assert finding.outcome == "fail"
    assert said in finding.detail


async def test_a_task_that_does_not_end(server: LocalCyberun, client: AsyncClient) -> None:
    """A task that goes on is left running, and the report has its id."""
    server.script(WORKFLOW, NEVER_ENDS)
    report = await conformance.check(client, submit=WORKFLOW, parameters=PARAMETERS, timeout=0.05)
    (task,) = [task async for task in client.tasks.list()]
    assert task.status == "running"
    assert task.id in found(report, "submit.result").detail
    assert found(report, "submit.cancel").outcome == "skip"


async def test_parameters_that_do_not_fit(server: LocalCyberun, client: AsyncClient) -> None:
    """Nothing is submitted with parameters that the workflow does not take."""
    report = await conformance.check(client, submit=WORKFLOW)
    assert "prompt" in found(report, "submit.run").detail
    assert "workflows.run" not in [exchange.operation for exchange in server.requests]


@pytest.mark.slow
@pytest.mark.covering
async def test_a_cancel_that_is_not_taken(server: LocalCyberun, client: AsyncClient) -> None:
    """A server where a task that has ended cannot be cancelled without an error fails."""
    server.script(WORKFLOW, [complete()])
    server.faults.status(409, on="tasks.cancel")
    report = await conformance.check(client, submit=WORKFLOW, parameters=PARAMETERS)
    assert found(report, "submit.cancel").outcome == "fail"


async def test_a_cancel_that_changes_an_end(server: LocalCyberun, client: AsyncClient) -> None:
    """A server where cancelling a task changes its end fails."""
    run = Conformance(client, None, {}, 1, task_id=(await client.run(WORKFLOW, PARAMETERS)).id)
    server.faults.unknown_status(on="tasks.get", after=1)
    with pytest.raises(Differs, match="changed its status"):
        await run.cancel_ended()
