"""What holds for every test: two event loops, nothing blocks, and nothing is left behind."""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import gc
import importlib.util
import inspect
import logging
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key as stderr_key
from anyio._backends._asyncio import AsyncIOBackend
from blockbuster import blockbuster_ctx
from support.leftovers import no_task_left
from support.sampling import count

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

GRACE = 3.0
"""Seconds until a socket or thread that is still there counts as left behind.

Only a test that is about to fail waits so long: the other end of a connection may be a server in
a thread of this process, and sees the end of it a little later than the test does.
"""

ENDS_AT = pytest.StashKey[float]()
"""When the process of a test that does not end is ended."""

# A shared machine is no stop-watch, and a run that fails must fail again.
hypothesis.settings.register_profile(
    "default", deadline=None, print_blob=True, max_examples=count(sample=25, soak=5_000)
)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings(), derandomize=True)
hypothesis.settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the caller's own Cyberun account and proxies, and an ignored Ctrl-C: no test may depend on them."""
    # A run in the background begins with Ctrl-C ignored, as do all that it starts, and tests press it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.upper().startswith("CYBERUN_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    # What the command line would read there is an account, too.
    os.environ["XDG_CONFIG_HOME"] = os.environ["APPDATA"] = str(Path(__file__).parent / "nowhere")
    if os.environ.get("CI"):
        hypothesis.settings.load_profile("ci")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the benchmarks where none is asked for: they import what they compare with."""
    is_wanted = "not benchmark" not in config.getoption("markexpr")
    return True if collection_path.name == "benchmarks" and not is_wanted else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Take what hypothesis tries at random for a sweep: the gate tries a few examples, and the soak thousands."""
    if hasattr(getattr(item, "obj", None), "hypothesis"):
        item.add_marker(pytest.mark.soak)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run on trio what runs on asyncio, too."""
    ids = {item.nodeid for item in items}
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec and callspec.params.get("anyio_backend") == "trio":
            on_asyncio = callspec.id.replace("trio", "asyncio", 1)
            if item.nodeid.replace(f"[{callspec.id}]", f"[{on_asyncio}]") in ids:
                item.add_marker(pytest.mark.second_loop)


def pytest_collection_finish() -> None:
    """Let the collector pass over what lives as long as the run.

    Some tests call it, and each call would look at half a million objects of pytest and of modules.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every async test on both loops.

    A test that is about one of them says so with `@pytest.mark.parametrize("anyio_backend", ["asyncio"])`.
    """
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True, scope="session")
def _blocked_tasks_are_seen_at_once() -> Iterator[None]:
    """Have `anyio.wait_all_tasks_blocked()` return as soon as on trio: on asyncio it looks ten times a second."""

    async def wait_all_tasks_blocked() -> None:
        loop = asyncio.get_running_loop()
        idle_turns = 0
        # What the last task of a turn has sent, another one receives in the next.
        while idle_turns < 2:
            await asyncio.sleep(0)
            idle_turns = 0 if loop._ready else idle_turns + 1  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncIOBackend, "wait_all_tasks_blocked", wait_all_tasks_blocked)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nothing_blocks_the_loop() -> Iterator[None]:
    """Make a blocking call from the package an error wherever asyncio runs.

    The local Cyberun has a loop and a thread to itself, and a command line writes to its terminal:
    they may block where the SDK may not. What they call in the SDK is still watched.
    """
    exempt = ["cyberun_async.local", "cyberun_async.cli"]
    with blockbuster_ctx("cyberun_async", excluded_modules=[m for m in exempt if _exists(m)]) as watched:
        # Of coverage's own lock, which no user has, there is no frame to be told by.
        locks = watched.functions["threading.Lock.acquire"]
        may_block = locks.can_block_predicate
        locks.deactivate()
        locks.can_block_predicate = lambda lock, *args, **kwargs: (
            lock is _lock_of_coverage() or may_block(lock, *args, **kwargs)
        )
        locks.activate()
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket behind, or an error in asyncio's own log."""
    threads, sockets = set(threading.enumerate()), _open_sockets()
    with _AsyncioErrors() as errors:
        yield
        left = functools.partial(_left_behind, threads, sockets)
        start = time.monotonic()
        while (remains := left()) and (passed := time.monotonic() - start) < GRACE:
            # The other end is quick as a rule; the collector costs more than to wait for it.
            if passed > GRACE / 100:
                gc.collect()
            time.sleep(GRACE / 1000)
    if remains:
        pytest.fail(f"left behind: {', '.join(remains)}", pytrace=False)
    if errors:
        pytest.fail("asyncio reported: " + "; ".join(errors), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End the process of a test that its time limit does not end.

    pytest-timeout raises in the test, once, and a loop that goes on turning has no end after that. pytest-xdist names
    the test whose worker has ended, and goes on with another worker.
    """
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout"))
    stash = item.config.stash
    # Each call starts a thread, and waits for the last one to end: one that still suits serves the next tests, too.
    if not 1.5 * limit < stash.get(ENDS_AT, 0.0) - time.monotonic() < 2 * limit:
        faulthandler.dump_traceback_later(2 * limit, exit=True, file=stash[stderr_key])
        stash[ENDS_AT] = time.monotonic() + 2 * limit
    try:
        return (yield)
    finally:
        if nextitem is None:
            faulthandler.cancel_dump_traceback_later()
            del stash[ENDS_AT]


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Fail an async test that leaves a task behind."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test) and not hasattr(test, "hypothesis"):
        pyfuncitem.obj = _leaving_no_task_behind(test)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test


def _leaving_no_task_behind(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        async with no_task_left():
            await test(*args, **kwargs)

    return checked


def _left_behind(threads: set[threading.Thread], sockets: set[str]) -> list[str]:
    """Name the threads and sockets that were not there before."""
    # A server that outlives the test may add workers to itself, whose names begin with its own.
    owners = tuple(f"{thread.name}-" for thread in threads)
    new_threads = [
        thread
        for thread in threading.enumerate()
        if thread not in threads and not _is_pooled(thread) and not thread.name.startswith(owners)
    ]
    return [f"thread {t.name}" for t in new_threads] + sorted(_open_sockets() - sockets)


def _is_pooled(thread: threading.Thread) -> bool:
    """Tell a worker that its owner keeps for the next call from one that nobody wants any more."""
    if thread.name.startswith("Trio thread"):
        return True
    loop = getattr(thread, "loop", None)
    return isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed()


def _open_sockets() -> set[str]:
    """Name this process's sockets; none where the system does not tell."""
    sockets = set()
    if sys.platform == "linux":
        # Asked twice for each of thousands of tests: to read a descriptor's link takes five times as long.
        for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - a Path is made for each
            try:
                status = os.fstat(descriptor)
            except OSError:  # It was closed meanwhile; the one that lists the folder always is.
                continue
            if stat.S_ISSOCK(status.st_mode):
                sockets.add(f"socket:[{status.st_ino}]")
    return sockets


class _AsyncioErrors(logging.Handler):
    """Collect what asyncio can only log: an exception nobody retrieved, a task destroyed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("asyncio").addHandler(self)
        return self.errors

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger("asyncio").removeHandler(self)


def _lock_of_coverage() -> object:
    """Give what coverage holds while it notes the lines of a thread, where it measures this process."""
    coverage = sys.modules.get("coverage")
    measuring = coverage and coverage.Coverage.current()
    collector = measuring and measuring._collector
    return collector and collector.data_lock


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
