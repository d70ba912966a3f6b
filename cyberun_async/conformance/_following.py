"""Following a task by its stream and by polling, concurrently, to see whether events arrive while the task runs. (buffering)"""

import anyio
import attrs

from cyberun_async._client import AsyncClient, core_of
from cyberun_async._errors import CyberunError
from cyberun_async._protocol.endpoints import stream_task_events
from cyberun_async._transport.sse import ServerSentEvent
from cyberun_async.conformance._asking import ask
from cyberun_async.conformance._report import Differs, Skipped
from cyberun_async.conformance._tables import LAST_EVENTS

BUFFERED = (
    "Something on the way, usually a proxy, buffers the stream until it ends. Waiting works all the same, by polling "
    "every few seconds, but progress is not seen. Have it pass `text/event-stream` on at once: no buffering "
    "(`proxy_buffering off` in nginx) and no compression."
)
CUT = (
    "Something on the way ends streams early, usually by a timeout. Waiting works all the same: a stream is reopened, "
    "and polling continues meanwhile. Longer timeouts for `/r/tasks/*/events` spare the reconnecting."
)
REFUSED = "Waiting works all the same, by polling every few seconds, but progress is not seen."


TOO_SOON = 2.0
"""Seconds within which a task's events and its end may come together without anything holding them back."""


@attrs.define
class Followed:
    """What was seen of a task, in seconds from the moment that its stream was asked for.

    Attributes:
        events: All of them so far.
        opened: When it was open.
        first: When the first event came.
        ended: When a poll found the task in a terminal status.
        was_live: Whether the task still ran when the first event came; `None` until that is known.
        is_over: Whether the stream has ended.
        failure: What became of the stream instead.
        joined: How many events had lines of JSON without `data:`.

    """

    start: float
    events: list[ServerSentEvent] = attrs.field(factory=list)
    opened: float | None = None
    first: float | None = None
    ended: float | None = None
    was_live: bool | None = None
    is_over: bool = False
    failure: CyberunError | None = None
    joined: int = 0

    @property
    def has_last(self) -> bool:
        """Whether the stream has sent the terminal event."""
        return bool(self.events) and self.events[-1].event in LAST_EVENTS


async def follow(client: AsyncClient, task_id: str, *, whole: bool, timeout: float) -> Followed:
    """Follow a task to its end, or, unless `whole`, until it is clear whether events come while it runs."""
    seen = Followed(anyio.current_time())
    with anyio.move_on_after(timeout):
        async with anyio.create_task_group() as group:

            async def stream() -> None:
                await _read_stream(client, task_id, seen, whole=whole)
                if seen.has_last or not whole:
                    group.cancel_scope.cancel()

            async def poll() -> None:
                await _poll(client, task_id, seen)
                group.cancel_scope.cancel()

            group.start_soon(stream)
            group.start_soon(poll)
    return seen


async def _read_stream(client: AsyncClient, task_id: str, seen: Followed, *, whole: bool) -> None:
    try:
        connection = await core_of(client).transport.open_stream(stream_task_events(task_id))
        seen.opened = anyio.current_time() - seen.start
        try:
            while not seen.is_over and (whole or seen.was_live is None):
                events = await connection.receive()
                seen.is_over = events is None
                seen.events += events or []
                if events and seen.was_live is None:
                    seen.first = seen.first or anyio.current_time() - seen.start
                    has_ended = await _has_ended(client, task_id)
                    seen.was_live = None if has_ended is None else not has_ended
                if seen.has_last:
                    break
        finally:
            seen.joined = connection.decoder.joined
            await connection.aclose()
    except CyberunError as error:
        seen.failure = error


async def _poll(client: AsyncClient, task_id: str, seen: Followed) -> None:
    """Poll until the task has ended, and give the stream a little longer."""
    interval = core_of(client).settings.polling.interval
    while not await _has_ended(client, task_id):  # noqa: ASYNC110 - another's task sets no event here
        await anyio.sleep(interval)
    seen.ended = anyio.current_time() - seen.start
    await anyio.sleep(2 * interval)


async def _has_ended(client: AsyncClient, task_id: str) -> bool | None:
    """Poll once; `None` where there was no response."""
    try:
        body = (await ask(client, f"/r/tasks/{task_id}")).body
    except (CyberunError, Differs):
        return None
    return isinstance(body, dict) and body.get("task_status") in LAST_EVENTS


def judge(seen: Followed) -> str:
    """Say whether streams get through.

    Raises:
        Differs: They do not.
        Skipped: What was seen does not show it.

    """
    if seen.opened is None and seen.failure is not None:
        raise Differs(f"the stream did not get through: {seen.failure}", REFUSED)
    if seen.was_live:
        return f"streams get through: the first event came after {seen.first:.2f} s, while the task ran"
    if not seen.events and (seen.is_over or seen.failure is not None):
        raise Differs("the stream ended before the task did, and without an event", CUT)
    if seen.first is not None and seen.first < TOO_SOON:
        raise Skipped("the task ended too soon to decide: events came, but not before its end")
    if seen.first is not None:
        raise Differs(f"streams are buffered: nothing came for {seen.first:.1f} s, until the task had ended", BUFFERED)
    if seen.ended is not None:
        raise Differs(f"streams are buffered: the task ended within {seen.ended:.1f} s, and no event came", BUFFERED)
    raise Skipped("nothing happened to the task meanwhile, so nothing could come")
