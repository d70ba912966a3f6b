"""Relaying the events of tasks to browsers, which cannot carry a key: one upstream stream a task, any number of readers.

Source: https://docs.cyberun.cloud/api-reference/streaming-events ("in a browser, proxy through your own backend")
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cyberun_async._client import AsyncClient, core_of
from cyberun_async._errors import ConfigurationError
from cyberun_async._protocol.paths import segment
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._relay.channel_pool import ChannelPool
from cyberun_async._relay.relayed_stream import RelayedStream
from cyberun_async._relay.shared_wait import SharedFollower
from cyberun_async._relay.signal_handlers import chained
from cyberun_async._validators import (
    SECONDS,
    check_above_zero,
    check_count,
    check_kind,
    check_not_negative,
    explain_misuse,
)
from cyberun_async._wait.result import wait_for_result
from cyberun_async._wait.wait_options import AbandonPolicy, EventCallback, Wait

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SSE_HEADERS", "Relay", "RelayedStream"]

SSE_HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""The headers to send with a relayed stream; the last keeps nginx from buffering events."""

_TIME = "a number of seconds of at least 0"


@explain_misuse(enter="use 'async with Relay(client) as relay:'")
class Relay:
    """Follows tasks on behalf of browsers, as an async context manager that lives as long as the web application.

    However many readers a task has, it has one upstream stream for each account that reads it (base URL, key, team),
    opened with the first reader and closed soon after the last one has left. A slow reader delays no other: it continues
    from where it is, and what it misses beyond `history` is left out. Readers get the service's own events, but for
    `error`, which in a browser is the connection's; a task that cannot be followed ends in an event of the relay's own,
    `unavailable`.

    ```python
    async with AsyncClient() as client, Relay(client) as relay:
        ...  # in a handler: StreamingResponse(await relay.open(task_id, last_event_id=...), headers=SSE_HEADERS)
    ```

    It may be entered and left in different tasks of one event loop, as fixtures and test clients do.

    Args:
        client: The client to follow tasks with where none is named; may be left out where each stream names its own.
        heartbeat: Seconds of silence after which a reader gets a comment, so that proxies keep the connection.
        linger: Seconds that a task is followed, and its events are kept, after its last reader has left.
        history: Events a task that are kept for readers who come late or come again.

    Raises:
        ConfigurationError: One of the numbers cannot work.

    """

    def __init__(
        self,
        client: AsyncClient | None = None,
        *,
        heartbeat: float = 15.0,
        linger: float = 5.0,
        history: int = 1000,
    ) -> None:
        """Follow nothing yet."""
        check_above_zero(heartbeat, "heartbeat", SECONDS)
        check_not_negative(linger, "linger", _TIME)
        check_count(history, "history")
        self._client = client
        self._heartbeat = heartbeat
        self._pool = ChannelPool(history, linger)

    async def __aenter__(self) -> "Self":
        """Begin to serve readers."""
        self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the relay."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop following; the readers' streams end, and their browsers will reconnect. Safe to call twice."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        """Show how many tasks are followed."""
        return f"<{type(self).__name__} of {self.upstreams} tasks>"

    @property
    def upstreams(self) -> int:
        """How many tasks are being followed."""
        return self._pool.upstreams

    # Reading

    def stream(
        self, task_id: str, *, last_event_id: str | None = None, client: AsyncClient | None = None
    ) -> "RelayedStream":
        """Give a task's events as the bytes of a Server-Sent Events stream, from the first one known, to its end.

        Nothing is known of the task yet: one that does not exist ends in `unavailable`. `open()` raises instead.

        Args:
            task_id: The task. Whether the reader may see it is for the application to check.
            last_event_id: The browser's `Last-Event-ID` header: the stream resumes after it.
            client: The client to follow this task with, where users have keys of their own.

        Raises:
            InvalidParameters: The id cannot be one.
            ConfigurationError: The relay is not open, or there is no client.

        """
        segment(task_id, "task_id")
        check_kind(last_event_id, (str, type(None)), "last_event_id", "a string or None")
        self._pool.loop  # noqa: B018 - which it has while it is open
        reader = self._client_or(client)
        return RelayedStream(self._pool, task_id, reader, last_event_id=last_event_id, heartbeat=self._heartbeat)

    async def open(
        self,
        task_id: str,
        *,
        last_event_id: str | None = None,
        client: AsyncClient | None = None,
        within: float = 5.0,
    ) -> "RelayedStream":
        """Give a task's events like `stream()`, once it is known that there is such a task.

        So the application can still respond with 404. It costs no request beyond those of following the task.

        Args:
            task_id: The task. Whether the reader may see it is for the application to check.
            last_event_id: The browser's `Last-Event-ID` header: the stream resumes after it.
            client: The client to follow this task with, where users have keys of their own.
            within: Seconds after which the stream is given although the service has not responded.

        Raises:
            NotFoundError: There is no such task for the client's key.
            CyberunError: The task cannot be followed for another reason.
            InvalidParameters: The id cannot be one.
            ConfigurationError: The relay is not open, there is no client, or `within` is no time.

        """
        check_not_negative(within, "within", _TIME)
        stream = self.stream(task_id, last_event_id=last_event_id, client=client)
        try:
            await stream.wait_until_known(within)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def wait_for_result(
        self,
        task_id: str,
        *,
        client: AsyncClient | None = None,
        timeout: float | None = None,
        on_event: EventCallback | None = None,
        on_timeout: AbandonPolicy = "leave",
        on_cancel: AbandonPolicy = "leave",
    ) -> TaskResult:
        """Wait like `AsyncClient.wait_for_result`, on the stream that the relay's readers of the task share.

        A relay that is closed first does not end the wait, which then goes on by itself.

        Args:
            task_id: The task's id.
            client: The client to wait with, where users have keys of their own.
            timeout: Seconds until `WaitTimeout`; `None` waits for as long as the server responds.
            on_event: Called with each event that readers get, from the first one known; may be async.
            on_timeout: Whether to `"leave"` the task running when the deadline passes, or to `"cancel"` it.
            on_cancel: Likewise when the waiting task is cancelled.

        Raises:
            TaskFailed: The task failed.
            TaskCancelled: The task was cancelled.
            WaitTimeout: The deadline passed; `remote` says what became of the task.
            CyberunError: The task cannot be followed.
            ConfigurationError: The relay is not open, or there is no client.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        client = self._client_or(client)
        core = core_of(client)
        wait = Wait(timeout=timeout, on_event=on_event, on_timeout=on_timeout, on_cancel=on_cancel)
        shared = SharedFollower(self._pool, client, core.follow(task_id))
        try:
            return await wait_for_result(
                core.transport, core.shared_poller, core.settings, task_id, wait, follower=shared
            )
        finally:
            await shared.aclose()

    # Shutting down

    async def drain(self, within: float = 5.0) -> None:
        """End the streams of all readers, before a backend stops, and admit no new ones.

        Each stream ends with a `retry:`, after which its browser reconnects, to another process or to the next one. So
        does one that is asked for from now on, at once. It returns when every reader has left.

        Args:
            within: Seconds that it waits for readers whose connections are slow.

        """
        check_not_negative(within, "within", _TIME)
        await self._pool.drain(within)

    @contextmanager
    def draining_on(self, *signals: int, within: float = 5.0) -> Iterator[None]:
        """Drain as soon as one of the signals arrives, and not only when the application shuts down.

        uvicorn and others close an application down after its last response has ended, which a stream does not by
        itself. The handlers that are there stay: they are called as well. Outside of the main thread nothing is done.

        ```python
        async with AsyncClient() as client, Relay(client) as relay:
            with relay.draining_on(signal.SIGINT, signal.SIGTERM):
                yield
        ```

        Args:
            signals: Such as `signal.SIGTERM`.
            within: Seconds, as for `drain()`.

        Raises:
            ConfigurationError: The relay is not open.

        """
        check_not_negative(within, "within", _TIME)
        loop = self._pool.loop

        async def drain(number: int, *, ends_process: bool) -> None:
            await self.drain(within)
            if ends_process:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        def notice(number: int, ends_process: bool) -> None:
            loop.call_soon(lambda: loop.start(partial(drain, number, ends_process=ends_process)))

        with chained(signals, notice):
            yield

    def _client_or(self, client: AsyncClient | None) -> AsyncClient:
        client = client or self._client
        if client is None:
            message = "there is no client to follow the task with: pass client, or make it Relay(client)"
            raise ConfigurationError(message)
        check_kind(client, AsyncClient, "client", "an AsyncClient")
        return client


RelayedStream.__module__ = __name__
