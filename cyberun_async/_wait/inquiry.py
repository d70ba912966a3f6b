"""Asking the API about one task: which failures pass, which end the wait, and when to give up."""

import logging
from typing import TypeVar

import anyio

from cyberun_async._errors import APIError, CyberunError, DecodeError, TokenError, TransportError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.status import UNSTATED, TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult, says_nothing, with_evidence
from cyberun_async._transport.transport import Transport
from cyberun_async._wait.poll_errors import is_lag, is_passing
from cyberun_async._wait.schedule import PollSchedule, Question

log = logging.getLogger("cyberun_async.events")

T = TypeVar("T")

FAILURES = (APIError, TransportError, DecodeError, TokenError)
"""What a request may fail with and the wait go on."""


class Inquiry:
    """What one wait asks about its task.

    Each question has an outage of its own in the wait's pace: an answer to one says nothing about the other.

    Args:
        transport: Sends the requests.
        pace: The times of the wait.
        task_id: The task.
        submitted_at: When this client has submitted it, where that is not long ago.

    Attributes:
        submitted_at: When this client has submitted the task, where that is not long ago.
        ended: The terminal status that a poll or a terminal event has reported, until something contradicts it.
        may_have_ended: Whether the result is to be asked for next, since that or something less certain was reported.
        ended_at: When something first said that the task has ended.
        is_asking: Whether a request is in flight.
        was_cut: Whether the last request was cancelled before it was answered: the next one is let land.

    """

    __slots__ = (
        "_schedule",
        "_task_id",
        "_transport",
        "ended",
        "ended_at",
        "is_asking",
        "may_have_ended",
        "submitted_at",
        "was_cut",
    )

    def __init__(self, transport: Transport, schedule: PollSchedule, task_id: str, submitted_at: float | None) -> None:
        """Ask nothing yet."""
        self._transport = transport
        self._schedule = schedule
        self._task_id = task_id
        self.submitted_at: float | None = submitted_at
        self.ended: TaskStatus | None = None
        self.ended_at: float | None = None
        self.may_have_ended: bool = False
        self.is_asking: bool = False
        self.was_cut: bool = False

    def heard_of_end(self, status: TaskStatus | None, now: float) -> None:
        """Note that something says that the task has ended, and how if that is certain; the result has the last word."""
        self.ended = status or self.ended
        self.may_have_ended = True
        if self.ended_at is None:
            self.ended_at = now

    async def task(self) -> Task | None:
        """Ask how the task stands, and plan the next poll; `None` where that failed and may pass."""
        now = anyio.current_time()
        late = self._schedule.lateness(now)
        self._schedule.looked(now)
        task = await self._ask(Question.TASK, endpoints.get_task(self._task_id), late)
        self._schedule.landed(anyio.current_time())
        if task is not None and task.status != UNSTATED and not task.status.is_terminal:
            self._forget_end()
        return task

    async def result(self) -> TaskResult | None:
        """Ask for the result, which may not be final; `None` where that failed and may pass."""
        late = self._schedule.lateness(anyio.current_time())
        result = await self._ask(Question.RESULT, endpoints.get_task_result(self._task_id), late)
        if result is None:
            return None
        result = with_evidence(result, self.ended)
        if self.ended is None and says_nothing(result):
            # Only the time of the end is no proof: a task that was restarted may keep an old one, and a status may be known.
            task = await self.task()
            if task is None:
                return None
            result = with_evidence(result, task.status if task.status.is_known else None)
        if not result.status.is_terminal:
            # Whatever said so was early or wrong: the next poll tells.
            self._forget_end()
        return result

    def _forget_end(self) -> None:
        self.ended = self.ended_at = None
        self.may_have_ended = False

    async def _ask(self, question: Question, call: Call[T], late: float) -> T | None:
        began = anyio.current_time()
        self._schedule.asked(began)
        self.is_asking = True
        try:
            answer = await self._transport.send_once(call)
        except FAILURES as failure:
            self.was_cut = False
            self._pass_or_raise(question, failure, began, late)
            return None
        except BaseException:
            self.was_cut = True
            self._schedule.poll_now()
            raise
        finally:
            self.is_asking = False
        self.was_cut = False
        self._schedule.answered(question)
        return answer

    def _pass_or_raise(self, question: Question, failure: CyberunError, began: float, late: float) -> None:
        """Let a failure pass, or raise it."""
        now = anyio.current_time()
        if self._is_lag(question, failure, began):
            if question is Question.TASK:
                self._schedule.lagging(now)
            # Before a refusal of the result counts, the task itself has to say that it has ended.
            self.ended = None
            self.may_have_ended = False
        elif not is_passing(failure, has_answered=self._transport.has_answered):
            # That is a response. Where the wait goes on all the same, since a list was mistaken, it was no outage.
            self._schedule.answered(question)
            raise failure
        else:
            retry_after = failure.retry_after if isinstance(failure, APIError) else None
            if self._schedule.failed(question, began, now, late=late, retry_after=retry_after):
                raise failure
        log.debug("task %s: asking %s failed: %s", self._task_id, question.value, failure)

    def _is_lag(self, question: Question, failure: CyberunError, asked: float) -> bool:
        happened = self.submitted_at if question is Question.TASK else self.ended_at
        return happened is not None and is_lag(failure, question, asked - happened)
