"""What a wait asks the API, and what the responses mean: a pure state machine, which sends nothing itself.

A wait asks two questions: how does the task stand (a poll), and what is its result. The follower carries the
`Request` out that is planned, and reports `sent`, and then one of `poll_answered`, `result_answered`, `failed` and `cancelled`:

| planned | what comes of it | then |
| --- | --- | --- |
| `POLL` | a status that the stream should have delivered by now | `CONFIRM`, once the stream had time to deliver it |
| `POLL`, `CONFIRM` | another status that is an update | is emitted; a stream that did not deliver it is given up |
| `POLL`, `CONFIRM` | a status by which the task may have ended | `FETCH_RESULT` |
| `POLL`, `CONFIRM` | it has failed for too long, while events arrive | `FETCH_INSTEAD`: a result has a status, too |
| `FETCH_UNLISTED` | it is refused, as before the end | `POLL`: the lists lack a task that goes on |
| any `FETCH_…` | a result that says nothing of how the task ended | a poll, whose status is the evidence for that |
| any `FETCH_…` | a final result | the terminal event is emitted; nothing follows it |
| `FETCH_RESULT` | another result, or it failed | the next poll, after a back-off |
| any other | what is none of these, or it failed and may pass | the next poll, in its time |
| any | it failed, and does not pass, or has failed for too long | is raised |
| any | it was cancelled, by an event, by the caller, or as it took longer than `STREAM_LAG` ahead of the stream | the next poll, at once; no event cancels that, nor what follows from it |

What always holds:

- What says that the task has ended (a poll, an event of any kind, the lists without it) is kept until its result was
  read, or contradicts it. Until then the result is what every poll asks for.
- Each question has an outage of its own in the schedule. What is answered meanwhile ends no other's, so whatever keeps
  failing is raised after `Polling.unavailable_timeout`.
- Nothing is asked before a `Retry-After` is over.
"""

from enum import Enum

from cyberun_async._errors import APIError, CyberunError
from cyberun_async._protocol.events import event_from_result, event_from_status
from cyberun_async._protocol.status import UNSTATED, TaskStatus, may_have_ended
from cyberun_async._protocol.tasks import TaskResult, says_nothing, with_evidence
from cyberun_async._wait.dedup import EventDeduplicator
from cyberun_async._wait.poll_errors import is_lag, is_passing, may_be_early
from cyberun_async._wait.schedule import PollSchedule, Question


class PollDecision(Enum):
    """What the shared poller has a wait do."""

    POLL = "poll the task"
    FETCH_RESULT = "fetch the result: the task is in no list of unfinished tasks"
    TRY_STREAM = "open the stream"


class Request(Enum):
    """What a wait asks next."""

    POLL = "poll the task"
    CONFIRM = "poll the task again, since the stream does not deliver what the last poll has seen"
    FETCH_RESULT = "fetch the result, since something says that the task has ended"
    FETCH_UNLISTED = "fetch the result, since no list of unfinished tasks has the task"
    FETCH_INSTEAD = "fetch the result, since polls fail while events arrive"


_POLLS = frozenset({Request.POLL, Request.CONFIRM})


class Inquiry:
    """What one wait asks about its task.

    Args:
        task_id: The task.
        schedule: The times of the wait.
        dedup: Takes the events.
        submitted_at: When this client has submitted the task, where that is not long ago.

    Attributes:
        submitted_at: When this client has submitted the task, where that is not long ago.
        planned: What is to be asked next, before anything is waited for.
        was_cancelled: Whether the last request was cancelled before it was answered: the next one is let land, with all that follows
            from it, since a wait whose second request is cancelled each time would not get any further.
        result: The final result, once it was fetched.

    """

    __slots__ = (
        "_asked_at",
        "_dedup",
        "_ended",
        "_ended_at",
        "_failure",
        "_late",
        "_may_have_ended",
        "_schedule",
        "_stream_first",
        "_task_id",
        "_unproved",
        "planned",
        "result",
        "submitted_at",
        "was_cancelled",
    )

    def __init__(
        self, task_id: str, schedule: PollSchedule, dedup: EventDeduplicator, submitted_at: float | None
    ) -> None:
        """Know nothing."""
        self._task_id = task_id
        self._schedule = schedule
        self._dedup = dedup
        self.submitted_at: float | None = submitted_at
        self.planned: Request | None = None
        self.was_cancelled: bool = False
        self.result: TaskResult | None = None
        self._stream_first = self._may_have_ended = False
        # The terminal status, where it is certain, and when something first said that there is one.
        self._ended: TaskStatus | None = None
        self._ended_at: float | None = None
        self._unproved: TaskResult | None = None
        self._failure: CyberunError | None = None
        self._asked_at: float | None = None
        self._late = 0.0

    def __repr__(self) -> str:
        """Show what it asks."""
        planned = "nothing" if self.planned is None else self.planned.name
        end = f", said to have {self._ended or 'ended'}" if self._may_have_ended else ""
        return f"<{type(self).__name__} about task {self._task_id}: {planned} planned{end}>"

    # What is asked

    def poll(self, *, stream_first: bool = False) -> None:
        """Plan a poll, or to fetch the result where something says that the task has ended.

        Args:
            stream_first: Whether a stream is read meanwhile, and gets time to deliver what the poll has seen.

        """
        self._stream_first = stream_first
        self.planned = Request.FETCH_RESULT if self._may_have_ended else Request.POLL

    def act_on(self, decision: TaskStatus | PollDecision, now: float, *, stream_first: bool = False) -> None:
        """Plan what follows from a decision of the shared poller, or from a status that it has seen."""
        if decision is PollDecision.POLL:
            self.poll(stream_first=stream_first)
            return
        self._stream_first = stream_first
        if decision is PollDecision.FETCH_RESULT:
            self.planned = Request.FETCH_UNLISTED
        elif decision is not PollDecision.TRY_STREAM:
            # To try the stream is no request.
            self._take_status(decision, now)

    def settle(self, now: float) -> None:
        """Plan to fetch the result of a task whose terminal event is there."""
        self.end_reported(self._dedup.status, now)
        self.planned = Request.FETCH_RESULT

    def next_request(self, now: float) -> Request | None:
        """Give what is planned; before a `Retry-After` is over, nothing is."""
        if self.planned is not None and self._schedule.is_deferred(now):
            self._drop_plan()
            self._schedule.poll_now()
        return self.planned

    @property
    def is_asking(self) -> bool:
        """Whether a request is in flight."""
        return self._asked_at is not None

    @property
    def question(self) -> Question:
        """The question of the planned request."""
        return Question.TASK if self.planned in _POLLS or self._unproved is not None else Question.RESULT

    # What becomes of it

    def sent(self, now: float) -> None:
        """Note that the planned request is sent."""
        self._asked_at, self._late = now, self._schedule.lateness(now)
        self._schedule.request_sent(now)
        if self.question is Question.TASK or self.planned is Request.FETCH_UNLISTED:
            self._schedule.poll_sent(now)

    def poll_answered(self, status: TaskStatus, now: float) -> None:
        """Take the status of the task."""
        planned, result = self.planned, self._unproved
        self._answered(Question.TASK)
        self._schedule.poll_done(now)
        if status != UNSTATED and not status.is_terminal:
            self._forget_end()
        if result is not None:
            self._take_result(planned, with_evidence(result, status if status.is_known else None), now)
        else:
            self._take_status(status, now, is_confirmed=planned is Request.CONFIRM)
        self._landed()

    def result_answered(self, result: TaskResult, now: float) -> None:
        """Take the result, which may not be final."""
        planned = self.planned
        self._answered(Question.RESULT)
        result = with_evidence(result, self._ended)
        if self._ended is None and says_nothing(result):
            # Only the time of the end is no proof: a task that was restarted may keep an old one, and a status may be known.
            # So the task is polled once more (`question`), and the plan stands until that has said what the result is worth.
            self.planned, self._unproved = planned, result
        else:
            self._take_result(planned, result, now)
        self._landed()

    def failed(self, failure: CyberunError, now: float, *, has_answered: bool = False) -> CyberunError | None:
        """Take the failure of the planned request, and give the one that the wait has to raise, if there is one.

        Args:
            failure: How it failed.
            now: The time.
            has_answered: Whether the API has answered this client before.

        """
        planned, question, raised = self.planned, self.question, self._failure
        passes = self._passes(failure, question, now, has_answered=has_answered)
        self._drop_plan()
        if passes:
            if question is Question.TASK:
                self._schedule.poll_done(now)
            if planned is Request.FETCH_RESULT:
                self._schedule.back_off(now)
        elif planned is Request.FETCH_UNLISTED and may_be_early(failure):
            # Lists may lack a task that has not ended, or whose result is not there yet: the task itself knows.
            self.poll(stream_first=self._stream_first)
        elif planned in _POLLS and self._schedule.has_event_in_outage(Question.TASK):
            self.planned, self._failure = Request.FETCH_INSTEAD, failure
        else:
            raised = raised or failure
        self._landed()
        return raised

    def cancelled(self) -> None:
        """Note that the requests were cancelled, by an event or by the caller, in flight or between two of them."""
        if self.is_asking:
            self.was_cancelled = True
            self._schedule.poll_now()
        self._drop_plan()

    def missed_poll(self, due: float, now: float) -> None:
        """Note that the wait was cancelled before the shared poller has answered; a poll that was due counts as cancelled, too."""
        self.was_cancelled = self.was_cancelled or due <= now

    def _drop_plan(self) -> None:
        self.planned = self._unproved = self._failure = self._asked_at = None

    def _landed(self) -> None:
        """Have events cancel requests again, unless another one follows from this one."""
        self.was_cancelled = self.was_cancelled and self.planned is not None

    def _answered(self, question: Question) -> None:
        self._drop_plan()
        self._schedule.answered(question)

    def _passes(self, failure: CyberunError, question: Question, now: float, *, has_answered: bool) -> bool:
        """Count a failure, and say whether the wait may go on."""
        asked_at = now if self._asked_at is None else self._asked_at
        happened_at = self.submitted_at if question is Question.TASK else self._ended_at
        if happened_at is not None and is_lag(failure, question, asked_at - happened_at):
            if question is Question.TASK:
                self._schedule.back_off(now)
            # Before a refusal of the result counts, the task itself has to say that it has ended.
            self._ended, self._may_have_ended = None, False
            return True
        if not is_passing(failure, has_answered=has_answered):
            # That is a response. Where the wait goes on all the same, since a list was mistaken, it was no outage.
            self._schedule.answered(question)
            return False
        retry_after = failure.retry_after if isinstance(failure, APIError) else None
        return not self._schedule.failed(question, asked_at, now, late=self._late, retry_after=retry_after)

    # What the responses mean

    def _take_status(self, status: TaskStatus, now: float, *, is_confirmed: bool = False) -> None:
        if may_have_ended(status):
            # Without a known status the result decides, however often it has to be asked.
            self.end_reported(status if status.is_terminal else None, now)
            self.planned = Request.FETCH_RESULT
        elif status == self._dedup.status or self._schedule.has_event_since_poll:
            # It is no update, or the poll was behind the stream.
            return
        elif self._stream_first and not is_confirmed:
            # Either the stream is about to deliver it, or the poll was behind, or else the stream does not get through.
            self.planned = Request.CONFIRM
        else:
            self._dedup.accept(event_from_status(self._task_id, status))
            if self._stream_first:
                self._schedule.stream_broke(now)

    def _take_result(self, planned: Request | None, result: TaskResult, now: float) -> None:
        if result.status.is_terminal:
            self.result = result
            self._dedup.accept(event_from_result(result))
            return
        # What said so was early or wrong: the next poll decides.
        self._forget_end()
        if planned is Request.FETCH_RESULT:
            self._schedule.back_off(now)
        elif planned is Request.FETCH_INSTEAD:
            self._schedule.answered(Question.TASK)
            self._take_status(result.status, now, is_confirmed=True)
        elif result.status != UNSTATED:
            self._take_status(result.status, now)

    def end_reported(self, status: TaskStatus | None, now: float) -> None:
        """Note that something says that the task has ended, and how if that is certain; the result has the last word."""
        self._ended = status or self._ended
        self._may_have_ended = True
        if self._ended_at is None:
            self._ended_at = now

    def _forget_end(self) -> None:
        self._ended = self._ended_at = None
        self._may_have_ended = False
