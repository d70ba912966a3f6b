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
import sys
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
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.status import TaskStatus
from cyberun_async._protocol.tasks import Task, TaskResult
from cyberun_async._resources.tasks import Tasks
from cyberun_async._settings import Limits, Polling, Retries, Timeouts, TokenProvider
from cyberun_async._wait.event_stream import EventStream
from cyberun_async._wait.result import AbandonPolicy, EventCallback

if TYPE_CHECKING:
    from cyberun_async._batch.batch import Batch
    from cyberun_async._batch.journal import Journal
    from cyberun_async._batch.journal_entry import JournalEntry
    from cyberun_async._batch.outcome import BatchCounts, Outcome
    from cyberun_async._files.download import DownloadProgress
    from cyberun_async._files.file_stream import FileStream
    from cyberun_async._files.upload import UploadProgress
    from cyberun_async._message_rate import RateLimiter, throttle
    from cyberun_async._observing import Observer, RequestStarted, ResponseReceived, RetryPlanned, WaitProgressed
    from cyberun_async._progress_bar import text_bar
    from cyberun_async._protocol.agents import GPU, Agent, SystemStats
    from cyberun_async._protocol.containers import Container, Invocation, Variable, Volume
    from cyberun_async._protocol.webhooks import Webhook
    from cyberun_async._protocol.workflows import ParameterDef, Workflow
    from cyberun_async._resources.agents import Agents
    from cyberun_async._resources.containers import Containers
    from cyberun_async._resources.files import Files
    from cyberun_async._resources.ping import Ping
    from cyberun_async._resources.webhooks import Webhooks
    from cyberun_async._resources.workflows import Workflows

__all__ = [
    "GPU",
    "APIError",
    "AbandonPolicy",
    "Agent",
    "Agents",
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchCounts",
    "CancelledEvent",
    "CompletedEvent",
    "ConfigurationError",
    "ConflictError",
    "Container",
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
    "ParameterDef",
    "PermissionDeniedError",
    "Ping",
    "Polling",
    "PresignedUpload",
    "ProgressEvent",
    "RateLimitError",
    "RateLimiter",
    "Record",
    "RequestStarted",
    "ResponseReceived",
    "Retries",
    "RetryPlanned",
    "ServerError",
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

_LATER = {
    "Batch": "_batch.batch",
    "DownloadProgress": "_files.download",
    "Journal": "_batch.journal",
    "Ping": "_resources.ping",
    "FileStream": "_files.file_stream",
    "RateLimiter": "_message_rate",
    "throttle": "_message_rate",
    "UploadProgress": "_files.upload",
    "Observer": "_observing",
    "RequestStarted": "_observing",
    "ResponseReceived": "_observing",
    "RetryPlanned": "_observing",
    "WaitProgressed": "_observing",
    "GPU": "_protocol.agents",
    "Agent": "_protocol.agents",
    "SystemStats": "_protocol.agents",
    "text_bar": "_progress_bar",
    "BatchCounts": "_batch.outcome",
    "Outcome": "_batch.outcome",
    "Container": "_protocol.containers",
    "Invocation": "_protocol.containers",
    "Variable": "_protocol.containers",
    "Volume": "_protocol.containers",
    "JournalEntry": "_batch.journal_entry",
    "Webhook": "_protocol.webhooks",
    "ParameterDef": "_protocol.workflows",
    "Workflow": "_protocol.workflows",
    "Agents": "_resources.agents",
    "Containers": "_resources.containers",
    "Files": "_resources.files",
    "Webhooks": "_resources.webhooks",
    "Workflows": "_resources.workflows",
}
"""Where the names are that submitting and waiting do without: they are loaded when somebody asks for them."""


def _publish(name: str, value: object) -> None:
    """Give a name to the package, and its public address to what it stands for."""
    globals()[name] = value
    if getattr(value, "__module__", "").startswith(__name__):
        value.__module__ = __name__


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        importlib.import_module(f"{__name__}.{_LATER[name]}")
        for each, module in _LATER.items():
            # Others came with it.
            if loaded := sys.modules.get(f"{__name__}.{module}"):
                _publish(each, getattr(loaded, each))
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


for _name in set(__all__) - set(_LATER):
    _publish(_name, globals()[_name])
del TYPE_CHECKING, _name
