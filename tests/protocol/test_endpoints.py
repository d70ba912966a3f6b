"""Every call: what it asks, where, and whether it may be asked twice."""

from types import NoneType
from typing import Any

import pytest
from support.tables import table

from cyberun_async import (
    Agent,
    Container,
    InvalidParameters,
    Invocation,
    PresignedUpload,
    Task,
    TaskResult,
    TaskStatus,
    Webhook,
    Workflow,
)
from cyberun_async._protocol import agents, containers, endpoints, webhooks, workflows
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.submitted import read_submitted
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._protocol.webhooks import RotatedSecret

ID = "019abc12-9012-7890-abcd-ef1234567896"
FIRST = {"current_page": 1, "per_page": 100}


@table(
    ("call", "expected"),
    [
        pytest.param(
            workflows.list_workflows(), Call("GET", "/r/workflows", Page[Workflow], query=FIRST), id="list_workflows"
        ),
        pytest.param(
            workflows.list_workflows(3, 20),
            Call("GET", "/r/workflows", Page[Workflow], query={"current_page": 3, "per_page": 20}),
            id="list_workflows, a page",
        ),
        pytest.param(
            workflows.get_workflow("text-to-image"),
            Call("GET", "/r/workflows/slug/text-to-image", Workflow),
            id="get_workflow, slug",
        ),
        pytest.param(
            workflows.get_workflow("text-to-image@2"),
            Call("GET", "/r/workflows/slug/text-to-image@2", Workflow),
            id="get_workflow, pinned",
        ),
        pytest.param(workflows.get_workflow(ID), Call("GET", f"/r/workflows/{ID}", Workflow), id="get_workflow, UUID"),
        pytest.param(
            endpoints.run_workflow("text-to-image", {"prompt": "x", "steps": 30}),
            Call(
                "POST",
                "/r/workflows/slug/text-to-image/run",
                Submitted,
                body={"parameters": {"prompt": "x", "steps": 30}},
                repeatable=False,
                read=read_submitted,
            ),
            id="run_workflow, slug",
        ),
        pytest.param(
            endpoints.run_workflow(ID, {}),
            Call(
                "POST",
                f"/r/workflows/{ID}/run",
                Submitted,
                body={"parameters": {}},
                repeatable=False,
                read=read_submitted,
            ),
            id="run_workflow, UUID",
        ),
        pytest.param(
            endpoints.run_workflow("x", {}, Dispatch("agent", "team", "us-east", "comfyui")),
            Call(
                "POST",
                "/r/workflows/slug/x/run",
                Submitted,
                body={
                    "parameters": {},
                    "dispatch_target": "agent",
                    "target_pool": "team",
                    "submitter_region": "us-east",
                    "tool_type": "comfyui",
                },
                repeatable=False,
                read=read_submitted,
            ),
            id="run_workflow, dispatched",
        ),
        pytest.param(endpoints.list_tasks(), Call("GET", "/r/tasks", Page[Task], query=FIRST), id="list_tasks"),
        pytest.param(
            endpoints.list_tasks(status="running"),
            Call("GET", "/r/tasks", Page[Task], query={**FIRST, "status": "running"}),
            id="list_tasks, a status",
        ),
        pytest.param(
            endpoints.list_tasks(2, 50, status=TaskStatus.FAILED),
            Call("GET", "/r/tasks", Page[Task], query={"current_page": 2, "per_page": 50, "status": "failed"}),
            id="list_tasks, a member",
        ),
        pytest.param(endpoints.get_task(ID), Call("GET", f"/r/tasks/{ID}", Task, task_id=ID), id="get_task"),
        pytest.param(
            endpoints.get_task_result(ID),
            Call("GET", f"/r/tasks/{ID}/result", TaskResult, task_id=ID),
            id="get_task_result",
        ),
        pytest.param(
            endpoints.stream_task_events(ID),
            Call("GET", f"/r/tasks/{ID}/events", NoneType, task_id=ID),
            id="stream_task_events",
        ),
        pytest.param(
            endpoints.cancel_task(ID), Call("POST", f"/r/tasks/{ID}/cancel", NoneType, task_id=ID), id="cancel_task"
        ),
        pytest.param(
            endpoints.presign_file("in.png", 1048576, "image/png"),
            Call(
                "POST",
                "/r/files/presign",
                PresignedUpload,
                body={"file_name": "in.png", "file_size": 1048576, "content_type": "image/png"},
            ),
            id="presign_file",
        ),
        pytest.param(agents.list_agents(), Call("GET", "/r/agents", Page[Agent], query=FIRST), id="list_agents"),
        pytest.param(
            containers.list_containers(),
            Call("GET", "/r/containers", Page[Container], query=FIRST),
            id="list_containers",
        ),
        pytest.param(
            containers.get_container("whisper"),
            Call("GET", "/r/containers/whisper", Container),
            id="get_container",
        ),
        pytest.param(
            containers.invoke_container("whisper", "GET", "/health?deep=1"),
            Call("POST", "/r/invoke/whisper", Invocation, body={"method": "GET", "path": "/health?deep=1"}),
            id="invoke_container, reading",
        ),
        pytest.param(
            containers.invoke_container("whisper", "POST", "/x", content=b'{"ok":true}', headers={"X-Y": "z"}),
            Call(
                "POST",
                "/r/invoke/whisper",
                Invocation,
                body={"method": "POST", "path": "/x", "body_base64": "eyJvayI6dHJ1ZX0=", "headers": {"X-Y": "z"}},
                repeatable=False,
            ),
            id="invoke_container, writing",
        ),
        pytest.param(
            containers.invoke_container("whisper", "PUT", "/", content=b""),
            Call(
                "POST",
                "/r/invoke/whisper",
                Invocation,
                body={"method": "PUT", "path": "/", "body_base64": ""},
                repeatable=False,
            ),
            id="invoke_container, empty body",
        ),
        pytest.param(
            webhooks.create_webhook("Mine", "https://example.com/hook", ["task.completed"]),
            Call(
                "POST",
                "/webhooks",
                Webhook,
                body={
                    "display_name": "Mine",
                    "webhook_url": "https://example.com/hook",
                    "webhook_events": ["task.completed"],
                },
                repeatable=False,
            ),
            id="create_webhook",
        ),
        pytest.param(webhooks.get_webhook(ID), Call("GET", f"/webhooks/{ID}", Webhook), id="get_webhook"),
        pytest.param(
            webhooks.update_webhook(ID, display_name=None, url=None, events=None, status="paused"),
            Call("PUT", f"/webhooks/{ID}", NoneType, body={"webhook_status": "paused"}),
            id="update_webhook",
        ),
        pytest.param(
            webhooks.rotate_webhook_secret(ID),
            Call("POST", f"/webhooks/{ID}/rotate-secret", RotatedSecret, repeatable=False),
            id="rotate_webhook_secret",
        ),
    ],
)
def test_calls(call: Call[Any], expected: Call[Any]) -> None:
    """A call is a plain value: method, path, query and body, and whether it may be repeated."""
    assert call == expected
    # TaskStatus is a string, too, but its name is not what the query is to hold.
    assert [type(value) for value in call.query.values()] == [type(value) for value in expected.query.values()]


def test_body_is_not_shown() -> None:
    """What a call sends stays out of its `repr`: prompts and file names are the user's own."""
    assert "lighthouse" not in repr(endpoints.run_workflow("x", {"prompt": "a lighthouse"}))


def test_later_changes_do_not_count() -> None:
    """What is sent is what was given, whatever becomes of the dictionary afterwards."""
    parameters = {"prompt": "a lighthouse"}
    call = endpoints.run_workflow("x", parameters)
    parameters.clear()

    assert call.body == {"parameters": {"prompt": "a lighthouse"}}


@table(
    ("make", "problems"),
    [
        pytest.param(lambda: endpoints.get_task(".."), ["task_id must not be '..'"], id="task"),
        pytest.param(lambda: endpoints.get_task_result(""), ["task_id must not be empty"], id="result"),
        pytest.param(lambda: endpoints.cancel_task("."), ["task_id must not be '.'"], id="cancel"),
        pytest.param(lambda: endpoints.stream_task_events(""), ["task_id must not be empty"], id="events"),
        pytest.param(lambda: workflows.get_workflow(""), ["the workflow must not be empty"], id="workflow"),
        pytest.param(lambda: endpoints.run_workflow("..", {}), ["the workflow must not be '..'"], id="run"),
        pytest.param(
            lambda: endpoints.run_workflow("x", [("prompt", "x")]),  # type: ignore[arg-type]
            ["parameters must be a mapping of values by key, not list"],
            id="parameters",
        ),
        pytest.param(lambda: containers.get_container(".."), ["the service must not be '..'"], id="container"),
        pytest.param(
            lambda: endpoints.list_tasks(status=""),
            ["status must be a status such as running, not ''"],
            id="status",
        ),
        pytest.param(
            lambda: endpoints.list_tasks(status="\ud800"),
            ["status must be a status such as running, not '\\ud800'"],
            id="status that is no text",
        ),
        pytest.param(
            lambda: endpoints.list_tasks(status=5),  # type: ignore[arg-type]
            ["status must be a status such as running, not 5"],
            id="status that is a number",
        ),
        pytest.param(
            lambda: endpoints.presign_file("", -1, ""),
            [
                "the file's name must not be empty",
                "the file's size must be its exact number of bytes, not -1",
                "the file's content type must be a MIME type such as image/png",
            ],
            id="file, all at once",
        ),
        pytest.param(
            lambda: endpoints.presign_file("x", True, "image/png"),
            ["the file's size must be its exact number of bytes, not True"],
            id="size that is a boolean",
        ),
        pytest.param(
            lambda: endpoints.presign_file("x", 1.0, "image/png"),  # type: ignore[arg-type]
            ["the file's size must be its exact number of bytes, not 1.0"],
            id="size that is a float",
        ),
        pytest.param(
            lambda: containers.invoke_container(
                "x",
                "TRACE",
                "https://elsewhere/",
                content="text",  # type: ignore[arg-type]
                headers={"X-Y": 5},  # type: ignore[dict-item]
            ),
            [
                "method must be one of GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, not 'TRACE'",
                "path must begin with a single slash and stay on the service, not 'https://elsewhere/'",
                "content must be bytes, not str",
                "headers must be strings by name",
            ],
            id="invocation, all at once",
        ),
        pytest.param(
            lambda: containers.invoke_container("x", "GET", "//elsewhere/"),
            ["path must begin with a single slash and stay on the service, not '//elsewhere/'"],
            id="path with two slashes",
        ),
        pytest.param(
            lambda: webhooks.create_webhook("", "http://example.com/hook", []),
            [
                "display_name must have 1 to 255 characters",
                "url must begin with https:// and have at most 2048 characters",
                "events must be a list with at least one of task.completed and task.failed",
            ],
            id="webhook, all at once",
        ),
        pytest.param(
            lambda: webhooks.create_webhook("x" * 256, "https://[broken", "task.failed"),
            [
                "display_name must have 1 to 255 characters",
                "url must begin with https:// and have at most 2048 characters",
                "events must be a list with at least one of task.completed and task.failed",
            ],
            id="webhook, all at once, otherwise",
        ),
        pytest.param(lambda: webhooks.get_webhook(".."), ["webhook_id must not be '..'"], id="webhook"),
        pytest.param(
            lambda: containers.invoke_container("..", "GET", "/"), ["the service must not be '..'"], id="invoke"
        ),
    ],
)
def test_calls_that_cannot_be(make: Any, problems: list[str]) -> None:
    """What cannot be asked is refused before anything is sent, every reason at once."""
    with pytest.raises(InvalidParameters) as caught:
        make()

    assert list(caught.value.problems) == problems
