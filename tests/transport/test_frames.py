"""How deep the way of a call is: a reader of a traceback goes through few frames of the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import cyberun_async
from cyberun_async import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import CodeType

PACKAGE = str(Path(cyberun_async.__file__).parent)
MAX_FRAMES = 8
TASK = {"id": "t-1", "task_status": "running"}


def frames_on_the_way(call: Coroutine[object, object, object]) -> list[str]:
    """Give the package's functions from a call's own to here: those that await, and those of the request's child task."""
    codes: list[CodeType] = []
    awaited: object = call
    while (code := getattr(awaited, "cr_code", None)) is not None:
        codes.append(code)
        awaited = awaited.cr_await  # type: ignore[attr-defined]
    frame, child = sys._getframe(), []
    while frame is not None:
        child.append(frame.f_code)
        frame = frame.f_back  # type: ignore[assignment]
    return [code.co_name for code in [*codes, *reversed(child)] if code.co_filename.startswith(PACKAGE)]


@pytest.mark.parametrize("is_own", [True, False], ids=["our connections", "a client of the user's"])
async def test_frames_of_a_call(is_own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a user's call and the pool there are at most eight frames, and the pool is the last."""
    seen: list[str] = []

    async def answer(_: object, __: object = None) -> httpx.Response:
        seen.extend(frames_on_the_way(call))
        return httpx.Response(200, json=TASK)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    http = None if is_own else httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with AsyncClient("sk-test", base_url="http://localhost", http_client=http) as client:
        call = client.tasks.get("t-1")
        await call
    *between, pool = seen
    assert (between[0], pool) == ("get", "handle_async_request" if is_own else "send")
    assert len(between) <= MAX_FRAMES, between
