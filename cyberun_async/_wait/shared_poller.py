"""Polling once for many waits, so that ten thousand of them cost a few list pages in each interval.

Every wait leaves a `PollRequest` here while it waits for its next poll, and gets a `PollDecision` or a new status back.

The waits have no task in the background to poll for them: it would outlive them. So one of them leads. In its own
`decide` it sleeps until the first request is due, polls for everybody, and goes on with that until there is a decision
for itself. When it leaves, for that or because it was cancelled, another one leads, and with the last one all is gone.

A round of the leader:

| due, or nearly (within `COALESCE_FRACTION` of an interval) | what it does |
| --- | --- |
| few, and no others nearly | each one polls for itself (`POLL`) |
| many | reads the lists of unfinished tasks (`ListPoller`), for all of them, and for those that listen to a stream |

| after the lists were read | the request gets |
| --- | --- |
| its task is listed, by the known status | nothing, and is due an interval later |
| its task is listed, by another status | that status |
| its task is in none of them | `FETCH_RESULT`: it has ended, or was missed, or its list cannot be read |
| the same, and the server cannot be reached | nothing, as after a poll that failed; `POLL`, where that lasts too long |

What always holds:

- A request gets one decision, and waits nowhere any longer from then on.
- No part writes into another's state: the leader reports to a request what was found, and the request keeps its own
  wait's schedule. What was found for a wait that has left meanwhile is dropped.
- As long as anybody waits, there is a leader, and it sleeps no longer than until the first request is due.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from cyberun_async._protocol.status import TaskStatus
from cyberun_async._settings import Polling
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.inquiry import PollDecision
from cyberun_async._wait.poll_request import PollRequest
from cyberun_async._wait.registry import Registry
from cyberun_async._wait.wakes import Wakes

if TYPE_CHECKING:
    from cyberun_async._wait.list_plan import TaskSummary
    from cyberun_async._wait.list_poller import ListPoller

COALESCE_FRACTION = 0.25
"""The part of an interval by which a poll may come early, so that one reading of the lists does for all."""


class SharedPoller:
    """The polls of all waits of one client.

    Args:
        transport: Sends the requests, and says when a stream has become free.
        polling: How often tasks are polled.
        wakes: Those of the client, where this is the poller of a view.

    Attributes:
        registry: Who waits.
        wakes: Wakes waits, of other views, too.

    """

    def __init__(self, transport: Transport, polling: Polling, wakes: Wakes | None = None) -> None:
        """Begin without waits."""
        self._transport = transport
        self._polling = polling
        self.registry: Registry = Registry()
        self._lists: ListPoller | None = None
        self.wakes: Wakes = Wakes() if wakes is None else wakes
        transport.on_free_stream = self.offer_slot

    def __repr__(self) -> str:
        """Show who waits."""
        return f"<{type(self).__name__}: {self.registry!r}>"

    async def decide(self, request: PollRequest, *, until: float = float("inf")) -> TaskStatus | PollDecision:
        """Wait until there is an update of a task, or something for its wait to do itself.

        Args:
            request: Whose, and when.
            until: When to stop waiting, for the stream.

        """
        registry = self.registry
        if request.wants_slot:
            self._transport.want_stream()
        registry.add(request, anyio.current_time())
        try:
            while request.decision is None and until > anyio.current_time():
                if registry.leader in {None, request}:
                    registry.leader = request
                    await self._lead(request, until)
                else:
                    await request.wait(until)
        finally:
            registry.remove(request)
        return request.decision or PollDecision.TRY_STREAM

    def listen(self, request: PollRequest) -> "anyio.CancelScope":
        """Give the scope in which a wait reads its stream until its poll is due, or others have an update of the task.

        Such a wait never leads, and gets what others find, until it says `listened`.
        """
        scope = request.listening()
        self.registry.add_listening(request)
        return scope

    def listened(self, request: PollRequest) -> None:
        """End what `listen` began."""
        self.registry.release(request)

    def wake(self, request: PollRequest) -> None:
        """Have a wait poll now, unless it has a decision and was about to go on."""
        if request in self.registry:
            self._give(request, PollDecision.POLL)

    def offer_slot(self) -> bool:
        """Give a free stream, if there is one, to one of the waits that want one, and say whether there was such a wait."""
        request = self.registry.first_for_slot() if self._transport.has_free_stream else None
        if request is not None:
            self._give(request, PollDecision.TRY_STREAM)
        return request is not None

    def _give(self, request: PollRequest, decision: TaskStatus | PollDecision) -> None:
        self.registry.release(request)
        request.decide(decision)

    # What the leader does

    async def _lead(self, request: PollRequest, until: float) -> None:
        """Poll for all waits until there is a decision for the leader itself, or its time is up."""
        registry = self.registry
        while request.decision is None and until > (now := anyio.current_time()):
            if registry.is_any_due(now):
                # A wait that begins at the same moment is in time for the same round.
                await anyio.sleep(0)  # noqa: ASYNC115 - anyio.lowlevel would have to be imported for it
                await self._poll_for_all(now)
            else:
                await request.wait(min(registry.next_due, until))

    async def _poll_for_all(self, now: float) -> None:
        """Poll for all whose poll is due, or nearly."""
        from cyberun_async._wait.list_poller import LIST_THRESHOLD, ListPoller

        registry = self.registry
        soon = now + COALESCE_FRACTION * self._polling.interval
        due = registry.due
        if len(due) <= LIST_THRESHOLD and not registry.is_any_near(soon):
            for request in due:
                self._give(request, PollDecision.POLL)
            return
        wanted = [request for request in registry if request.due <= soon]
        self._lists = self._lists or ListPoller(self._transport)
        plan = self._lists.plan({request.task_id: request.known for request in wanted})
        if pages := plan.next_pages():
            may_poll_singly = await self._lists.read(plan, pages, self._reporter(now))
            for request in wanted:
                if request.task_id in plan.missing and request in registry:
                    if may_poll_singly:
                        self._give(request, PollDecision.FETCH_RESULT)
                    else:
                        request.list_failed(now, anyio.current_time())
                        registry.polled(request)
        else:
            for request in wanted:
                if request.due <= now and not registry.is_listening(request):
                    self._give(request, PollDecision.POLL)
        registry.count_parked()
        self.offer_slot()

    def _reporter(self, began: float) -> "Callable[[TaskSummary], None]":
        """Give what reports a listed task to all who wait for it."""
        waiting: dict[str, list[PollRequest]] = {}
        for request in self.registry:
            waiting.setdefault(request.task_id, []).append(request)

        def report(task: "TaskSummary") -> None:
            for request in waiting.get(task.id, ()):
                if request in self.registry:
                    request.listed(task.status, began)
                    self.registry.polled(request)

        return report
