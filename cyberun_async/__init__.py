"""The asyncio-native Python SDK for Cyberun Cloud: submit a task, follow its events, fetch its result.

```python
async with AsyncClient() as client:  # the key is in CYBERUN_API_KEY
    result = await client.run("text-to-image", {"prompt": "a lighthouse at dusk"})
    await client.download(result, ".")
```

What takes several requests is a method of `AsyncClient`; each single request is on one of its groups, such as
`client.tasks`. All that can go wrong is a `CyberunError`.
"""

import importlib
from typing import TYPE_CHECKING

from cyberun_async._client import AsyncClient
from cyberun_async._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    CyberunError,
    DecodeError,
    InvalidParameters,
    JournalInUse,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SignInRequired,
    StartTimeout,
    StorageError,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TokenError,
    TransportError,
    TransportTimeout,
    WaitTimeout,
    WebhookError,
)
from cyberun_async._log_setup import set_up_logging
from cyberun_async._message_rate import RateLimiter, throttle
from cyberun_async._progress_bar import text_bar
from cyberun_async._protocol.agents import GPU, Agent, SystemStats
from cyberun_async._protocol.api_request import APIResponse
from cyberun_async._protocol.containers import Container, Invocation, Variable, Volume
from cyberun_async._protocol.events import (
    CancelledEvent,
    CompletedEvent,
    ErrorEvent,
    FailedEvent,
    ProgressEvent,
    StatusEvent,
    TaskEvent,
    TerminalEvent,
    UnknownEvent,
    decode_event,
    encode_event,
)
from cyberun_async._protocol.files import FileSource, InputFile, PresignedUpload
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.pages import Page
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._protocol.users import User
from cyberun_async._protocol.webhooks import Webhook
from cyberun_async._protocol.workflows import ParameterDef, Workflow
from cyberun_async._resources.agents import Agents
from cyberun_async._resources.containers import Containers
from cyberun_async._resources.files import Files
from cyberun_async._resources.ping import Ping
from cyberun_async._resources.tasks import Tasks
from cyberun_async._resources.users import Users
from cyberun_async._resources.webhooks import Webhooks
from cyberun_async._resources.workflows import Workflows
from cyberun_async._settings import Limits, Polling, Retries, Timeouts, TokenProvider
from cyberun_async._transport.paginator import AsyncPaginator
from cyberun_async._wait.event_stream import EventStream
from cyberun_async._wait.wait_options import AbandonPolicy, EventCallback

if TYPE_CHECKING:
    from cyberun_async._batch import Batch, BatchCounts, Journal, JournalEntry, Outcome
    from cyberun_async._files import DownloadProgress, FileStream, UploadProgress
    from cyberun_async._observing import Observer, RequestStarted, ResponseReceived, RetryPlanned, WaitProgressed
    from cyberun_async._resources.container_stream import ContainerStream, ServerSentEvent
    from cyberun_async._transport.cached_token import CachedToken
    from cyberun_async._transport.refreshing_token import RefreshingToken

__all__ = [
    "GPU",
    "APIError",
    "APIResponse",
    "AbandonPolicy",
    "Agent",
    "Agents",
    "AsyncClient",
    "AsyncPaginator",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchCounts",
    "CachedToken",
    "CancelledEvent",
    "CompletedEvent",
    "ConfigurationError",
    "ConflictError",
    "Container",
    "ContainerStream",
    "Containers",
    "CyberunError",
    "DecodeError",
    "DownloadProgress",
    "ErrorEvent",
    "EventCallback",
    "EventStream",
    "FailedEvent",
    "FileSource",
    "FileStream",
    "Files",
    "InputFile",
    "InvalidParameters",
    "Invocation",
    "Journal",
    "JournalEntry",
    "JournalInUse",
    "Limits",
    "NotFoundError",
    "Observer",
    "Outcome",
    "OutputFile",
    "Page",
    "ParameterDef",
    "PermissionDeniedError",
    "Ping",
    "Polling",
    "PresignedUpload",
    "ProgressEvent",
    "RateLimitError",
    "RateLimiter",
    "Record",
    "RefreshingToken",
    "RequestStarted",
    "ResponseReceived",
    "Retries",
    "RetryPlanned",
    "ServerError",
    "ServerSentEvent",
    "SignInRequired",
    "StartTimeout",
    "StatusEvent",
    "StorageError",
    "SystemStats",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskEvent",
    "TaskFailed",
    "TaskResult",
    "TaskStatus",
    "Tasks",
    "TerminalEvent",
    "Timeouts",
    "TokenError",
    "TokenProvider",
    "TransportError",
    "TransportTimeout",
    "UnknownEvent",
    "UploadProgress",
    "User",
    "Users",
    "Variable",
    "Volume",
    "WaitProgressed",
    "WaitTimeout",
    "Webhook",
    "WebhookError",
    "Webhooks",
    "Workflow",
    "Workflows",
    "decode_event",
    "encode_event",
    "text_bar",
    "throttle",
]

_LAZY = {
    "_batch": ("Batch", "BatchCounts", "Journal", "JournalEntry", "Outcome"),
    "_files": ("DownloadProgress", "FileStream", "UploadProgress"),
    "_observing": ("Observer", "RequestStarted", "ResponseReceived", "RetryPlanned", "WaitProgressed"),
    "_resources.container_stream": ("ContainerStream", "ServerSentEvent"),
    "_transport.cached_token": ("CachedToken",),
    "_transport.refreshing_token": ("RefreshingToken",),
}
"""The names that are imported with their first use, by where they come from; `_core.py` has the reason."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for package, names in _LAZY.items():
            if name in names:
                module = importlib.import_module(f"{__name__}.{package}")
                globals().update({each: getattr(module, each) for each in names})
                return globals()[name]
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


for _name in __all__:
    # Their public address, which errors show, and by which they are pickled.
    if getattr(globals().get(_name), "__module__", "").startswith(__name__):
        globals()[_name].__module__ = __name__
set_up_logging()
del TYPE_CHECKING, _name, set_up_logging
