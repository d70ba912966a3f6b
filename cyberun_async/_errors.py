"""Everything that can go wrong, as one tree.

CyberunError
├── ConfigurationError (ValueError)      bad key, URL or option; before anything is sent
│   └── JournalInUse                     another batch or process has the journal
├── InvalidParameters (ValueError)       every problem with the parameters at once; before anything is billed
├── APIError                             the server responded with an error
│   ├── BadRequestError                  400, 422
│   ├── AuthenticationError              401
│   ├── PermissionDeniedError            403
│   ├── NotFoundError                    404
│   ├── ConflictError                    409
│   ├── RateLimitError                   429
│   └── ServerError                      5xx
├── TransportError                       there was no response
│   └── TransportTimeout (TimeoutError)
├── TokenError                           the token provider failed
├── SignInRequired                       a refresh token that cannot be used any more
├── DecodeError                          a response that is not what the API documents
├── TaskError                            the task ended without a result
│   ├── TaskFailed
│   └── TaskCancelled
├── WaitTimeout (TimeoutError)           the deadline of a wait passed
│   └── StartTimeout                     the task did not start in time
├── StorageError                         upload or download of bytes failed
└── WebhookError                         a delivery that is not to be trusted
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from cyberun_async._protocol.status import TaskStatus
    from cyberun_async._protocol.tasks import TaskResult

_E = TypeVar("_E", bound="CyberunError")

_HARMLESS = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that may be sent twice without a thought."""

_IS_IT_THE_API = "is base_url right, with its scheme and /api/v1?"

_IS_IT_A_PROXY = (
    "a web page came instead of a response of the API, as proxies and firewalls send: check those, and base_url"
)

_MAY_HAVE_ACTED = (303, 408)
"""Of the error statuses below 500, those of a server that may have done what it was asked."""

_LATE_OR_EARLY = (408, 425)
"""Of the error statuses that have no class of their own, those that the same request may not get another time."""

_LOOK_FIRST = "check whether it took effect before you retry"


class CyberunError(Exception):
    """The root of every error that this package raises.

    Attributes:
        task_id: The task that the error is about, or `None` where there is none.
        may_have_been_sent: Whether the request may have reached the server and taken effect there. Where it is `False`,
            sending it again cannot do anything twice. On what `submit()` raises, it says whether a task may exist.

    """

    task_id: str | None
    may_have_been_sent: bool = False
    # Whether it ends a wait at once, whatever its kind: a token provider of the user's own has decided so.
    is_final = False

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        """Keep the message and the task that it is about."""
        super().__init__(message)
        self.task_id = task_id

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        # Exceptions are rebuilt from their positional arguments by default, which
        # loses keyword-only ones: a worker process must be able to send ours home.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[_E], args: tuple[object, ...], state: dict[str, object]) -> _E:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(CyberunError, ValueError):
    """A key, URL or option that cannot work, found before anything is sent."""


class JournalInUse(ConfigurationError):
    """Another batch or process has the journal; nothing was sent.

    Attributes:
        path: The journal's file.

    """

    path: str

    def __init__(self, path: str) -> None:
        """Build the message from the path."""
        self.path = path
        super().__init__(
            f"the journal {path} is in use by another batch or process: wait for that to end, or give this one its own"
        )


class InvalidParameters(CyberunError, ValueError):
    """Arguments that the call cannot take, all of them at once, before anything is billed.

    Attributes:
        problems: One sentence for each problem.

    """

    problems: tuple[str, ...]

    def __init__(self, problems: Sequence[str]) -> None:
        """Join the problems into one message."""
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class APIError(CyberunError):
    """The server responded with an error.

    Attributes:
        status: The HTTP status code.
        message: The server's own words (`error_message`), or a short stand-in where it sent none.
        method: The HTTP method of the request.
        path: The path of the request below the base URL.
        retry_after: Seconds the server asked to wait, or `None`.
        request_id: The server's name for the request, where it sent one.
        body: The response's text, cut at the error text limit.
        is_page: Whether the response is a web page, as proxies and firewalls send it, and not an error response of the API.

    """

    status: int
    message: str
    method: str
    path: str
    retry_after: float | None
    request_id: str | None
    body: str
    is_page: bool

    def __init__(
        self,
        status: int,
        message: str,
        *,
        method: str,
        path: str,
        retry_after: float | None = None,
        request_id: str | None = None,
        body: str = "",
        is_page: bool = False,
        advice: str | None = None,
        task_id: str | None = None,
    ) -> None:
        """Build the message from the facts; `advice` takes the place of what is advised by default."""
        self.status = status
        self.message = message
        self.method = method
        self.path = path
        self.retry_after = retry_after
        self.request_id = request_id
        self.body = body
        # A 5xx may come from a proxy that timed out while the server did its work.
        self.may_have_been_sent: bool = status >= 500 or status in _MAY_HAVE_ACTED
        self.is_page = is_page
        advice = _IS_IT_A_PROXY if is_page and status < 500 else advice or self._advice()
        super().__init__(self._text(advice), task_id=task_id)

    def _text(self, advice: str) -> str:
        return f"{self.method} {self.path} failed with {self.status}: {self.message.rstrip(' .;')}; {advice}"

    def _advice(self) -> str:
        if self.status in _LATE_OR_EARLY:
            return _LOOK_FIRST if self.may_have_been_sent and self.method not in _HARMLESS else "retry later"
        return _IS_IT_THE_API if 300 <= self.status < 400 else "fix that first: a retry would fail the same way"


class BadRequestError(APIError):
    """The request is malformed or incomplete (400, 422)."""


class AuthenticationError(APIError):
    """The key or token is missing, wrong, expired or revoked (401)."""

    def _advice(self) -> str:
        return "check the key or token; new keys are made on the Access page of Cyberun Cloud"


class PermissionDeniedError(APIError):
    """The key is good but may not do this, or the plan does not include it (403)."""

    def _advice(self) -> str:
        return "use a key that may do this, or ask the owner of the team"


class NotFoundError(APIError):
    """There is no such task, workflow, file or service for this key (404).

    Attributes:
        suggestions: The nearest slugs, where a workflow was submitted to by a slug that does not exist.

    """

    suggestions: tuple[str, ...] = ()

    def suggest(self, slugs: Sequence[str]) -> None:
        """Keep the nearest slugs, and name them in the message, if there are any."""
        self.suggestions = tuple(slugs)
        if not slugs:
            return
        self.args: tuple[object, ...] = (self._text(f"did you mean {' or '.join(map(repr, slugs))}?"),)

    def _advice(self) -> str:
        return "check the id or name, the team of the key, and base_url"


class ConflictError(APIError):
    """The request contradicts the state of the thing that it is about (409)."""

    def _advice(self) -> str:
        return "check its current state"


class RateLimitError(APIError):
    """Too many requests (429); `retry_after` says how long to wait where the server said so."""

    def _advice(self) -> str:
        wait = "wait a while" if self.retry_after is None else f"wait {self.retry_after:g} s"
        return f"{wait}, and send less at once (Limits.max_connections)"


class ServerError(APIError):
    """The server failed (5xx)."""

    def _advice(self) -> str:
        report = f", or report request {self.request_id}" if self.request_id else ""
        return ("retry later" if self.method in _HARMLESS else _LOOK_FIRST) + report


class TransportError(CyberunError):
    """There was no response, or it was interrupted.

    Attributes:
        method: The HTTP method of the request.
        path: The path of the request below the base URL.
        retryable: Whether trying again may help; a certificate that does not verify stays so.

    """

    method: str
    path: str
    retryable: bool

    def __init__(
        self,
        reason: str,
        *,
        method: str,
        path: str,
        may_have_been_sent: bool,
        retryable: bool = True,
        advice: str = "check base_url, and which certificates this machine trusts",
        task_id: str | None = None,
    ) -> None:
        """Build the message from the facts; the advice is for what was not sent, and would not be at another try."""
        self.method = method
        self.path = path
        self.may_have_been_sent = may_have_been_sent
        self.retryable = retryable
        super().__init__(
            f"{method} {path} got no response ({reason}); the request {self._fate(advice)}", task_id=task_id
        )

    def _fate(self, final: str) -> str:
        if self.may_have_been_sent:
            advice = "retrying is safe" if self.method in _HARMLESS else _LOOK_FIRST
            return f"may have reached the server: {advice}"
        if self.retryable:
            return "was not sent: check base_url and the network, or retry"
        return f"was not sent: {final}"


class TransportTimeout(TransportError, TimeoutError):
    """There was no response in time."""


class SignInRequired(CyberunError):
    """The refresh token of a `RefreshingToken` cannot be used any more: the user has to sign in again.

    Attributes:
        reason: What became of the refresh token; `__cause__` is the error that showed it, the first time.

    """

    reason: str

    def __init__(self, reason: str) -> None:
        """Build the message from the facts."""
        self.reason = reason
        super().__init__(f"the refresh token {reason}: sign in again, and make a RefreshingToken of the new one")


class TokenError(CyberunError):
    """The token provider failed, so nothing was sent; `__cause__` is what it raised.

    A provider's own `CyberunError` is raised as it is instead; a `TokenError` of its own says that it has none for now.

    Attributes:
        method: The HTTP method of the request that the token was for.
        path: The path of the request below the base URL.
        may_have_been_sent: Always `False`.

    """

    method: str
    path: str
    may_have_been_sent: bool = False

    def __init__(self, reason: str, *, method: str, path: str, task_id: str | None = None) -> None:
        """Build the message from the facts."""
        self.method = method
        self.path = path
        super().__init__(
            f"the token provider failed ({reason}), so {method} {path} was not sent: fix the provider, or retry",
            task_id=task_id,
        )


class DecodeError(CyberunError):
    """The server's response is not what the API documents.

    Attributes:
        problem: What is wrong with the response, with the path to the value.
        method: The HTTP method of the request, or `None` outside of a request.
        path: The path of the request below the base URL, or `None` outside of a request.
        body: The text that could not be read, cut at the error text limit, without keys and signatures; empty where the
            response was to give a secret.

    """

    problem: str
    method: str | None
    path: str | None
    body: str

    def __init__(
        self,
        problem: str,
        *,
        method: str | None = None,
        path: str | None = None,
        body: str = "",
        task_id: str | None = None,
    ) -> None:
        """Build the message from the facts."""
        self.problem = problem
        self.method = method
        self.path = path
        self.body = body
        self.may_have_been_sent: bool = method is not None
        of_task = f" of task {task_id}" if task_id else ""
        place = f"the response to {method} {path}" if method else f"the data{of_task}"
        super().__init__(f"{place} is not what the API documents: {problem}; {self._advice()}", task_id=task_id)

    def _advice(self) -> str:
        if self.method is None:
            return "pass it on as it was received"
        return _IS_IT_THE_API if self.method in _HARMLESS else _LOOK_FIRST


class TaskError(CyberunError):
    """The task ended without a result.

    Attributes:
        status: The terminal status.
        error: The server's reason, or `None` where it gave none.
        result: The complete response of the result endpoint.

    """

    status: "TaskStatus"
    error: str | None
    result: "TaskResult"
    may_have_been_sent: bool = True

    def __init__(self, result: "TaskResult") -> None:
        """Build the message from the task's own result."""
        self.status = result.status
        self.error = result.error
        self.result = result
        reason = f": {result.error.rstrip(' .;')}" if result.error else ""
        super().__init__(f"task {result.id} {self._ending}{reason}; {self._advice}", task_id=result.id)

    _ending = "ended without a result"
    _advice = "see its status"


class TaskFailed(TaskError):
    """The task ran into an error, a time limit, or lost its agent."""

    _ending = "failed"
    _advice = "change its parameters, or submit it again"


class TaskCancelled(TaskError):
    """The task was cancelled before it came to an end."""

    _ending = "was cancelled"
    _advice = "submit it again if it is still wanted"


class WaitTimeout(CyberunError, TimeoutError):
    """The deadline of a wait passed before the task ended.

    Attributes:
        timeout: The deadline, in seconds from the start of the wait.
        status: The last status seen, or `None` where none was.
        remote: What became of the task: `"left"` running, `"cancelled"`, or
            `"cancel_failed"` where the request to cancel it was not confirmed.

    """

    timeout: float
    status: "TaskStatus | None"
    remote: Literal["left", "cancelled", "cancel_failed"]

    def __init__(
        self,
        timeout: float,
        *,
        task_id: str | None,
        status: "TaskStatus | None" = None,
        remote: Literal["left", "cancelled", "cancel_failed"] = "left",
        may_have_been_sent: bool = True,
    ) -> None:
        """Build the message from the facts."""
        self.timeout = timeout
        self.status = status
        self.remote = remote
        self.may_have_been_sent = may_have_been_sent
        who = f"task {task_id}" if task_id else "the task"
        fate = {"left": self._left, "cancelled": self._cancelled, "cancel_failed": self._unconfirmed}[remote]
        if not may_have_been_sent:
            fate = "it was not submitted: submit it again with a longer timeout"
        elif task_id is None:
            fate = f"its submission got no response: {_LOOK_FIRST}"
        super().__init__(
            f"{who} did not {self._missed} within {timeout:g} s (last status: {status or 'none seen'}); {fate}",
            task_id=task_id,
        )

    _missed = "end"
    _left = "it was left running: wait again with its id, or cancel it"
    _cancelled = "it was cancelled: submit it again with a longer timeout"
    _unconfirmed = "cancelling it was not confirmed: check its status, and cancel it again"


class StartTimeout(WaitTimeout):
    """The task did not start within `start_timeout`: no agent has taken it.

    Attributes:
        timeout: The limit, in seconds from the submission, or from the start of a wait for a task that existed.

    """

    _missed = "start"
    _left = "it was left in the queue: wait again with its id, or cancel it"
    _cancelled = "it was cancelled: see which agents are online, and submit it again"


class StorageError(CyberunError):
    """Bytes could not be uploaded or downloaded.

    Attributes:
        file: Which file, by name.
        bytes_done: How many bytes had arrived or been sent.
        retryable: Whether trying again may help.
        status: The storage's HTTP status code, or `None` where it did not respond.

    """

    file: str
    bytes_done: int
    retryable: bool
    status: int | None

    def __init__(
        self,
        reason: str,
        *,
        file: str,
        bytes_done: int = 0,
        retryable: bool = False,
        status: int | None = None,
        task_id: str | None = None,
    ) -> None:
        """Build the message from the facts."""
        self.file = file
        self.bytes_done = bytes_done
        self.retryable = retryable
        self.status = status
        which = f"{file} of task {task_id}" if task_id else file
        progress = f" stopped after {bytes_done} bytes" if bytes_done else ""
        advice = "; retry" if retryable else ""
        super().__init__(f"{which}{progress}: {reason}{advice}", task_id=task_id)


class WebhookError(CyberunError):
    """A webhook delivery that is not to be trusted."""
