"""A pytest plugin: a local test server on loopback for each test, and a client that talks to it.

It is found by itself once `cyberun-async[testing]` is installed, and works under anyio's plugin, pytest-asyncio and
pytest-trio. Nothing is billed, and nothing leaves the machine.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import pytest

# Every pytest run loads this plugin, also where the extra is not installed: the server is imported by those who use it.
if TYPE_CHECKING:
    from cyberun_async._client import AsyncClient
    from cyberun_async.local import LocalCyberun

__all__ = ["cyberun", "cyberun_client"]

_CLIENT = "cyberun_client"

_Func = TypeVar("_Func", bound=Callable[..., object])


@pytest.fixture
def cyberun() -> "Iterator[LocalCyberun]":
    """Run a local Cyberun for one test: `cyberun.base_url`, `cyberun.api_key`, `cyberun.faults`, `cyberun.clock`."""
    from cyberun_async.local import LocalCyberun

    with LocalCyberun() as server:
        yield server


async def _open_client(cyberun: "LocalCyberun") -> "AsyncIterator[AsyncClient]":
    async with _make_client(cyberun) as client:
        yield client


def _make_client(cyberun: "LocalCyberun") -> "AsyncClient":
    from cyberun_async import AsyncClient, Polling

    return AsyncClient(
        cyberun.api_key, base_url=cyberun.base_url, polling=Polling(interval=0.1, interval_while_streaming=0.5)
    )


def _for_pytest_asyncio(func: _Func, scope: str | None = None) -> _Func:
    """Mark a fixture as one that pytest-asyncio runs, in its strict mode too, as its own decorator would."""
    func._force_asyncio_fixture = True  # type: ignore[attr-defined]  # noqa: SLF001 - its mark
    func._loop_scope = scope  # type: ignore[attr-defined]  # noqa: SLF001 - likewise
    return func


@pytest.fixture
@_for_pytest_asyncio
async def cyberun_client(cyberun: "LocalCyberun") -> "AsyncIterator[AsyncClient]":
    """Give an async test an open client of the local Cyberun, which is closed after the test and its other fixtures.

    It polls every 0.1 s instead of every 3 s, since the requests cost nothing. A test that is not async gets it, too,
    and closes it itself.
    """
    async for client in _open_client(cyberun):
        yield client


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: "pytest.FixtureDef[object]", request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Have the client opened and closed in the test's own event loop, by whichever plugin runs that."""
    func = fixturedef.func
    if fixturedef.argname != _CLIENT or getattr(func, "__module__", None) != __name__:
        return (yield)
    # pytest declares it final, and anyio's plugin and pytest-asyncio set it likewise.
    setattr(fixturedef, "func", _suited_to(request, func))  # noqa: B010
    try:
        return (yield)
    finally:
        setattr(fixturedef, "func", func)  # noqa: B010


def _suited_to(request: pytest.FixtureRequest, func: Callable[..., object]) -> Callable[..., object]:
    """Give the client's fixture in the form that the plugin takes which runs this test."""
    if "anyio_backend" in request.fixturenames or request.node.get_closest_marker("trio") is not None:
        return _open_client
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:
        return _make_client
    scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
    # Older releases have no such setting.
    with suppress(ValueError):
        scope = scope or request.config.getini("asyncio_default_test_loop_scope")
    return _for_pytest_asyncio(func, scope)
