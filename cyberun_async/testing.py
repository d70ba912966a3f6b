"""A pytest plugin: a whole Cyberun on loopback for each test, and a client that talks to it.

It is found by itself once `cyberun-async[testing]` is installed, and works under anyio's plugin, pytest-asyncio and
pytest-trio. Nothing is billed, and nothing leaves the machine.
"""

import functools
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Every pytest run loads this plugin, also where the extra is not installed: the server is imported by those who use it.
if TYPE_CHECKING:
    from cyberun_async._client import AsyncClient
    from cyberun_async.local import LocalCyberun

__all__ = ["cyberun", "cyberun_client"]

_CLIENT = "cyberun_client"


@pytest.fixture
def cyberun() -> "Iterator[LocalCyberun]":
    """Run a local Cyberun for one test: `cyberun.base_url`, `cyberun.api_key`, `cyberun.faults`, `cyberun.clock`."""
    from cyberun_async.local import LocalCyberun

    with LocalCyberun() as server:
        yield server


@pytest.fixture
def cyberun_client(cyberun: "LocalCyberun") -> "AsyncClient":
    """Give an async test an open client of the local Cyberun, which is closed when the test ends.

    It looks at tasks every 0.1 s instead of every 3 s, since nobody pays for the requests.
    """
    from cyberun_async import AsyncClient, Polling

    return AsyncClient(cyberun.api_key, base_url=cyberun.base_url, polling=Polling(interval=0.1, relaxed=0.5))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the client in the test's own event loop, whichever plugin runs that.

    A fixture could do so only as an async one, and each of the three plugins has its own kind of those.
    """
    if isinstance(item, pytest.Function) and _CLIENT in item.fixturenames and inspect.iscoroutinefunction(item.obj):
        test = item.obj

        @functools.wraps(test)
        async def with_open_client(*args: object, **kwargs: object) -> None:
            client: AsyncClient = item.funcargs[_CLIENT]  # type: ignore[assignment]
            async with client:
                await test(*args, **kwargs)

        item.obj = with_open_client
