"""Several teams: each sees its own tasks, uploads, webhooks and workflows, and nothing of the others'."""

from __future__ import annotations

import uuid

import httpx
import pytest
from local.conftest import client_with

from cyberun_async.local import Job, LocalCyberun, LocalTeam, LocalWorkflow
from cyberun_async.local.scripts import complete

PROMPT = {"parameters": {"prompt": "dusk"}}
RUN = "r/workflows/slug/text-to-image/run"


@pytest.fixture
def other(server: LocalCyberun) -> LocalTeam:
    """Make a second team."""
    return server.add_team("Others")


async def test_tasks(server: LocalCyberun, other: LocalTeam, http: httpx.AsyncClient) -> None:
    """Another team's task is in no list, and answers each call with 404."""
    task_id = (await http.post(RUN, json=PROMPT)).json()["task_id"]
    async with client_with(server, other.api_key) as theirs:
        assert (await theirs.get("r/tasks")).json()["page_meta"]["total_count"] == 0
        for path in ("", "/result", "/events"):
            assert (await theirs.get(f"r/tasks/{task_id}{path}")).status_code == 404
        assert (await theirs.post(f"r/tasks/{task_id}/cancel")).status_code == 404
        await server.clock.advance(2)
        assert (await theirs.get("r/agents")).json()["agent_list"][0]["running_tasks"] == []
    assert (await http.get(f"r/tasks/{task_id}")).json()["task_status"] == "running"
    assert (await http.get("r/agents")).json()["agent_list"][0]["running_tasks"] == [task_id]


async def test_uploads(server: LocalCyberun, other: LocalTeam, http: httpx.AsyncClient) -> None:
    """A file that another team has uploaded is not found by a task."""

    @server.workflow("read")
    def read(job: Job) -> bytes:
        return job.input("file")

    server.add_workflow(LocalWorkflow("read", read, script=[complete()]))
    upload = (
        await http.post("r/files/presign", json={"file_name": "a.txt", "file_size": 1, "content_type": "text/plain"})
    ).json()
    async with httpx.AsyncClient(verify=False) as plain:
        await plain.put(upload["upload_url"], headers=upload["upload_headers"], content=b"x")
    assert server.storage.read_input(upload["file_key"], team_id=server.team_id) == b"x"
    with pytest.raises(FileNotFoundError):
        server.storage.read_input(upload["file_key"], team_id=other.id)


async def test_webhooks(server: LocalCyberun, other: LocalTeam) -> None:
    """A webhook is another team's secret, and hears of its own team's tasks only."""
    hook = {"display_name": "x", "webhook_url": "http://127.0.0.1:9/", "webhook_events": ["task.completed"]}
    async with client_with(server, server.device_key) as http, client_with(server, other.device_key) as theirs:
        webhook_id = (await http.post("webhooks", json=hook)).json()["id"]
        assert (await theirs.get(f"webhooks/{webhook_id}")).status_code == 404
        assert (await http.get(f"webhooks/{webhook_id}")).status_code == 200
        server.script("text-to-image", [complete({})], times=2)
        await theirs.post(RUN, json=PROMPT)
        await server.clock.advance(1)
        assert server.deliveries == ()
        await http.post(RUN, json=PROMPT)
        await server.clock.advance(1)
        assert len(server.deliveries) == 1


async def test_workflows(server: LocalCyberun, other: LocalTeam, http: httpx.AsyncClient) -> None:
    """A workflow of one team is not there for another; one without a team is there for all."""
    server.workflow("theirs", team=other)(lambda _: b"")
    async with client_with(server, other.api_key) as theirs:
        workflow = (await theirs.get("r/workflows/slug/theirs")).json()
        assert "theirs" in [each["workflow_slug"] for each in (await theirs.get("r/workflows")).json()["workflow_list"]]
        assert (await theirs.get("r/workflows/slug/text-to-image")).status_code == 200
    assert "theirs" not in [each["workflow_slug"] for each in (await http.get("r/workflows")).json()["workflow_list"]]
    for ref in ("slug/theirs", "slug/theirs@1", workflow["id"]):
        assert (await http.get(f"r/workflows/{ref}")).status_code == 404
        assert (await http.post(f"r/workflows/{ref}/run", json={})).status_code == 404


async def test_keys(server: LocalCyberun, other: LocalTeam) -> None:
    """A team has as many keys as one likes, each of which can be revoked by itself."""
    second = other.new_key()
    assert len({second, other.api_key, server.api_key}) == 3
    server.revoke(other.api_key)
    for key, status in ((second, 200), (other.api_key, 401), (server.api_key, 200)):
        async with client_with(server, key) as client:
            assert (await client.get("r/tasks")).status_code == status


async def test_users(server: LocalCyberun, other: LocalTeam) -> None:
    """A user's token is good for the teams that the user belongs to."""
    both = server.issue_jwt(teams=server.teams)
    for token, status in ((both, 200), (other.jwt, 200), (server.jwt, 403)):
        async with client_with(server, token, **{"X-Team-ID": other.id}) as client:
            assert (await client.get("r/tasks")).status_code == status
    async with client_with(server, both) as client:
        user = (await client.get("users/me")).json()
        assert [team["id"] for team in user["team_list"]] == [server.team_id, other.id]
        refreshed = (await client.post("auth/refresh", json={"refresh_token": other.refresh_token})).json()
    async with client_with(server, refreshed["access_token"], **{"X-Team-ID": other.id}) as client:
        assert (await client.get("r/tasks")).status_code == 200


def test_repr(server: LocalCyberun, other: LocalTeam) -> None:
    """No key is in a `repr`."""
    assert repr(other) == f"LocalTeam(id='{uuid.UUID(other.id)}', name='Others')"
    assert repr(server._accounts) == "<Accounts: 2 teams, 6 keys>"
