"""The web example with a Cyberun whose clock the tests move, and a browser that looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.web import load_example, serving

from cyberun_async.local import LocalCyberun


class Site:
    """The example as it is served, and what is behind it.

    Attributes:
        cyberun: Its Cyberun, whose clock is held.
        example: The module.
        address: Where it is.

    """

    def __init__(self, cyberun: LocalCyberun, directory: Path, **settings: Any) -> None:
        """Serve nothing yet."""
        self.cyberun = cyberun
        self.example: ModuleType = load_example("web/app.py")
        self.address = ""
        self._settings = {"database": directory / "tasks.db", "linger": 0.0, **settings}
        self._serving = ExitStack()
        self._backend: Any = None

    def start(self) -> None:
        """Serve it, at the same address each time."""
        settings = self.example.Settings(api_key=self.cyberun.api_key, base_url=self.cyberun.base_url, **self._settings)
        app = self.example.create_app(settings)
        port = int(self.address.rpartition(":")[2] or 0)
        self.address = self._serving.enter_context(serving(app, port))
        until(lambda: hasattr(app.state, "backend"))
        self._backend = app.state.backend

    def stop(self) -> None:
        """Cut every stream, and be gone."""
        self._serving.close()

    def upstreams(self) -> tuple[int, int]:
        """Count the tasks that are followed, and the streams that Cyberun has open."""
        listeners = sum(len(task.listeners) for task in self.cyberun._scheduler.tasks.values())
        return self._backend.relay.upstreams, listeners

    def count(self, operation: str) -> int:
        """Count the requests of a kind that Cyberun has received."""
        return sum(each.operation == operation for each in self.cyberun.requests)


def until(holds: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


@pytest.fixture
def settings() -> dict[str, Any]:
    """Give settings of a test's own."""
    return {}


@pytest.fixture
def site(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Site]:
    """Serve the example, afresh for each test."""
    with LocalCyberun(clock="held") as cyberun:
        site = Site(cyberun, tmp_path, **settings)
        site.start()
        try:
            yield site
        finally:
            site.stop()
