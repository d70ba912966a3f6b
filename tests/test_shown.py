"""What an editor, `help()` and a prompt show: sentences, short signatures, public names, and no secrets."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable
from typing import get_origin

from support.tables import table

import cyberun_async
from cyberun_async import AsyncClient, Limits, OutputFile, Polling, Retries, TaskResult, Timeouts
from cyberun_async._protocol.codec import structure
from cyberun_async.local import LocalCyberun
from cyberun_async.relay import Relay

KEY = "sk-0123456789abcdef"
SIGNED = "https://bucket.test/a.png?X-Amz-Signature=deadbeef"
URL = "https://core.cyberun.cloud/api/v1"

PUBLIC = [getattr(cyberun_async, name) for name in cyberun_async.__all__]
# Up to Python 3.10 an alias of a type is a class, too.
CLASSES = [each for each in PUBLIC if inspect.isclass(each) and get_origin(each) is None]
GIVEN_BY_THE_CLIENT = [
    "AsyncPaginator",
    "Agents",
    "AsyncPaginator",
    "Batch",
    "ContainerStream",
    "Containers",
    "EventStream",
    "FileStream",
    "Files",
    "Tasks",
    "Users",
    "Webhooks",
    "Workflows",
]
MADE_BY_USERS = [kind for kind in CLASSES if kind.__name__ not in GIVEN_BY_THE_CLIENT]
METHODS = [
    getattr(kind, name)
    for kind in CLASSES
    for name in vars(kind)
    if not name.startswith("_") and inspect.isfunction(getattr(kind, name))
]


@table("shown", [*CLASSES, *METHODS], ids=lambda shown: shown.__qualname__)
def test_first_line(shown: object) -> None:
    """The first line of what an editor shows is one whole sentence that says what it is for."""
    first, *others = inspect.getdoc(shown).splitlines()  # type: ignore[union-attr]
    assert re.fullmatch(r"[A-Z].*\.", first)
    assert others[:1] in ([], [""])


@table("called", [*MADE_BY_USERS, *METHODS], ids=lambda called: called.__qualname__)
def test_signature(called: Callable[..., object]) -> None:
    """A signature names only what can be imported, and a default is as short as it would be written."""
    signature = str(inspect.signature(called))
    assert not re.search(r"cyberun_async\._|cyberun_async\.\w+\._", signature)
    assert "Timeouts(connect" not in signature


def test_flows_have_all_arguments() -> None:
    """Each argument of a flow is explained where it is typed."""
    for flow in (AsyncClient.submit, AsyncClient.run, AsyncClient.wait_for_result, AsyncClient.map, AsyncClient.upload):
        _, arguments = inspect.getdoc(flow).split("Args:", 1)  # type: ignore[union-attr]
        told = re.findall(r"^ +(\w+): ", arguments.partition("Raises:")[0], re.MULTILINE)
        assert told == [name for name in inspect.signature(flow).parameters if name != "self"]


def test_help() -> None:
    """`help(cyberun_async)` begins with a program, and says of no class that it is private."""
    shown = pydoc.plain(pydoc.render_doc(cyberun_async))
    assert "async with AsyncClient() as client:" in shown.split("PACKAGE CONTENTS")[0]
    assert "class AsyncClient(builtins.object)" in shown


@table(
    ("value", "shown"),
    [
        (Timeouts(), "Timeouts()"),
        (Timeouts(read=5), "Timeouts(read=5)"),
        (Retries(budget=0, maximum=2.0), "Retries(budget=0, maximum=2.0)"),
        (Polling(interval=3.0), "Polling()"),
        (Limits(max_streams=0), "Limits(max_streams=0)"),
    ],
)
def test_settings(value: object, shown: str) -> None:
    """Settings show what differs from the defaults, as it would be written."""
    assert repr(value) == shown
    assert eval(shown) == value


def test_result() -> None:
    """A result and its files show everything but their links."""
    result = structure({"id": "t-1", "task_status": "completed", "download_urls": {"a.png": SIGNED}}, TaskResult)
    (file,) = result.files
    assert isinstance(file, OutputFile)
    for shown in (repr(result), repr(file)):
        assert "t-1" in shown
        assert "deadbeef" not in shown


async def test_client() -> None:
    """A client, its groups, and what it gives say what they are about, and nothing of the key."""
    file = OutputFile(key="a", name="a.png", url=SIGNED, task_id="t-1")
    async with AsyncClient(KEY) as client:
        for value, shown in (
            (client, f"<AsyncClient {URL}>"),
            (client.tasks, f"<Tasks of {URL}>"),
            (client.workflows, f"<Workflows of {URL}>"),
            (client.events("t-1"), "<EventStream of task t-1>"),
            (client.map("text-to-image", []), "<Batch of 'text-to-image', 0 in flight>"),
            (client.open_file(file), "<FileStream of a.png of task t-1, 0 bytes>"),
            (Relay(client), "<Relay of 0 tasks>"),
        ):
            assert repr(value) == shown


def test_local_cyberun() -> None:
    """A local Cyberun shows where it is, once it is anywhere."""
    server = LocalCyberun()
    assert repr(server) == "<LocalCyberun not started>"
    with server:
        assert repr(server) == f"<LocalCyberun {server.base_url}>"
