"""The client: settings in, flows and groups out, opened and closed once."""

import os
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from cyberun_async._core import ClientCore, show_wait
from cyberun_async._protocol.api_headers import seal_headers
from cyberun_async._protocol.api_request import APIResponse
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.files import FileSource, input_file
from cyberun_async._protocol.output_files import OutputFile
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.secret import sealed
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._resources.agents import Agents
from cyberun_async._resources.containers import Containers
from cyberun_async._resources.files import Files
from cyberun_async._resources.ping import Ping, ping
from cyberun_async._resources.request import request
from cyberun_async._resources.tasks import Tasks
from cyberun_async._resources.users import Users
from cyberun_async._resources.webhooks import Webhooks
from cyberun_async._resources.workflows import Workflows
from cyberun_async._settings import Limits, Polling, Retries, Settings, Timeouts, TokenProvider
from cyberun_async._transport.process_bound import refuse_copies
from cyberun_async._validators import check_kind, explain_misuse
from cyberun_async._wait.event_stream import EventStream
from cyberun_async._wait.result import run, wait_for_result
from cyberun_async._wait.submission import Submission, submit
from cyberun_async._wait.wait_options import AbandonPolicy, EventCallback, Signal, Wait, check_on_submitted

if TYPE_CHECKING:
    import httpx
    from typing_extensions import Self

    from cyberun_async._batch.admission import OnError
    from cyberun_async._batch.batch import Batch, Items
    from cyberun_async._batch.decisions import Resubmit
    from cyberun_async._batch.journal import Journal
    from cyberun_async._batch.outcome import Outcome
    from cyberun_async._files.file_download import DownloadProgress
    from cyberun_async._files.file_stream import FileStream
    from cyberun_async._files.file_upload import UploadProgress
    from cyberun_async._observing import Observer
    from cyberun_async.webhooks import WebhookEvent

_R = TypeVar("_R", bound=Record)


@explain_misuse(enter="use 'async with AsyncClient() as client:'")
class AsyncClient:
    """A client of Cyberun Cloud, for asyncio and trio.

    Flows, which take several requests, are its own methods; single requests are on its groups. It is made for one
    event loop, and may be used by any number of tasks there.

    ```python
    async with AsyncClient() as client:
        result = await client.run("text-to-image", {"prompt": "a lighthouse at dusk"})
    ```

    Args:
        api_key: An `sk-` or `dk-` key, or a user's token (JWT), or an async callable that gives a fresh token each time
            it is asked: per request, and once more after a 401; requests that wait for one at the same time share one
            call. It cannot use the client itself. Else `CYBERUN_API_KEY`, else `CYBERUN_KEY`.
        team_id: The team's UUID; needed with a JWT, and sent only then. Else `CYBERUN_TEAM_ID`.
        base_url: Else `CYBERUN_BASE_URL`, else `https://core.cyberun.cloud/api/v1`.
        timeouts: How long single steps may take.
        retries: How failures are retried.
        polling: How often tasks are polled.
        limits: How much is used at once, and taken in.
        http_client: A client of your own for the API, for proxies, custom TLS or another transport. Its transport is used,
            but none of its headers, cookies, auth or redirects; it is never closed.
        storage_client: Likewise for uploads and downloads.
        http2: Whether single requests may be sent by HTTP/2; needs the extra `http2`. Event streams never are.
        observer: Called with each request, response, retry and wait.
        headers: Sent with each request to the API, and never to the storage, as a gateway in front of it may want them.
            Their values are treated as secrets; those that the client sets itself are rejected. Else `CYBERUN_HEADERS`, with
            `Name: value` in each line.
        allow_insecure_http: Allow `http://` to a host that is not loopback.

    Attributes:
        workflows: What can be run.
        tasks: What runs and ran.
        files: Input files.
        agents: The machines that run tasks.
        containers: Container services.
        webhooks: Where deliveries go.
        users: The user who is signed in.

    Raises:
        ConfigurationError: A setting cannot work; nothing was sent.

    Source: https://docs.cyberun.cloud/api-reference

    """

    __reduce__ = refuse_copies

    def __init__(
        self,
        api_key: str | TokenProvider | None = None,
        *,
        team_id: str | None = None,
        base_url: str | None = None,
        timeouts: Timeouts = Timeouts(),
        retries: Retries = Retries(),
        polling: Polling = Polling(),
        limits: Limits = Limits(),
        http_client: "httpx.AsyncClient | None" = None,
        storage_client: "httpx.AsyncClient | None" = None,
        http2: bool = False,
        observer: "Observer | None" = None,
        headers: Mapping[str, str] | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        """Check the settings; nothing is opened or sent."""
        given, given_headers = sealed(api_key), seal_headers(headers)
        del api_key, headers  # A traceback with local variables would show them.
        settings = Settings.resolve(
            given,
            team_id=team_id,
            base_url=base_url,
            http2=http2,
            http_client=http_client,
            observer=observer,
            headers=given_headers,
            allow_insecure_http=allow_insecure_http,
            timeouts=timeouts,
            retries=retries,
            polling=polling,
            limits=limits,
        )
        self._use(ClientCore(settings, http_client, storage_client))

    def _use(self, core: ClientCore) -> None:
        self._core = core
        transport = core.transport
        self.workflows: Workflows = Workflows(transport)
        self.tasks: Tasks = Tasks(transport)
        self.files: Files = Files(transport)
        self.agents: Agents = Agents(transport)
        self.containers: Containers = Containers(transport)
        self.webhooks: Webhooks = Webhooks(transport)
        self.users: Users = Users(transport)

    def with_options(
        self,
        *,
        api_key: str | TokenProvider | None = None,
        team_id: str | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        polling: Polling | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Self":
        """Give a view of this client: another key, or other options, on the same connections and limits.

        It costs next to nothing, so a backend may make one for each request of a user. Views of the same key share the pause
        after a 429, which stops no other key; with the same options they share polls and workflow definitions, too. A view
        has nothing to close: leaving `async with` on it, or `aclose()`, does nothing, and it works until the client itself
        is closed.

        ```python
        async with AsyncClient() as client:
            result = await client.with_options(api_key=users_key).run("text-to-image", {"prompt": "a lighthouse"})
        ```

        Args:
            api_key: Another key, token or token provider.
            team_id: The team's UUID; needed with a token (JWT) in `api_key`, since the client's own team is not taken over.
            timeouts: How long single steps may take.
            retries: How failures are retried.
            polling: How often tasks are polled.
            headers: Added to the client's; one of the same name takes the other's place.

        Raises:
            ConfigurationError: One of them cannot work.

        Source: https://docs.cyberun.cloud/cloud/concepts/credentials

        """
        given, given_headers = sealed(api_key), seal_headers(headers)
        del api_key, headers  # A traceback with local variables would show them.
        settings = self._core.settings.with_options(
            given, team_id=team_id, headers=given_headers, timeouts=timeouts, retries=retries, polling=polling
        )
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        # The client warns of open connections when it is collected, which it must not be while a view uses them.
        vars(view).setdefault("_viewed", self)
        view._use(self._core.view(settings))
        return view

    def __repr__(self) -> str:
        """Show where it talks to, and never the key."""
        # A traceback shows a client that was refused its settings, too.
        where = self._core.settings.base_url if "_core" in vars(self) else "without settings"
        return f"<{type(self).__name__} {where}{' (view)' if '_viewed' in vars(self) else ''}>"

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed; it can send nothing then."""
        return self._core.transport.is_closed

    async def __aenter__(self) -> "Self":
        """Give the client itself."""
        self._core.transport.check_usable()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, under cancellation too; safe to call twice."""
        await self._core.aclose()

    # Flows

    async def ping(self, *, timeout: float = 5.0) -> Ping:
        """Check that the service is reached and accepts the key, by one cheap call that is not retried.

        For the readiness check of a backend. It reads a list of one task.

        Args:
            timeout: Seconds that it may take.

        Raises:
            AuthenticationError: The key is wrong, expired or revoked.
            APIError: The server returned another error.
            TransportError: There was no response, or not in time.
            DecodeError: The response is not one of the API.
            ConfigurationError: The client is closed, or the timeout is no number above zero.

        Source: https://docs.cyberun.cloud/api-reference/task/list-tasks

        """
        return await ping(self._core.transport, timeout)

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, object] | None = None,
        returns: type[_R],
    ) -> APIResponse[_R]: ...

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, object] | None = None,
        returns: None = None,
    ) -> APIResponse[Any]: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, object] | None = None,
        returns: type[_R] | None = None,
    ) -> APIResponse[Any]:
        """Send a request to any endpoint of the API, also to one that has no method here: signed in, and with the same errors.

        GET, HEAD and OPTIONS are retried. Other methods are retried only if the request cannot have reached the server, or
        after a 429. It counts towards `Limits.max_connections` and `max_response_bytes`, and takes part in the pause after a
        429, as every call does. A redirect is not followed, but raised as an `APIError`.

        ```python
        response = await client.request("GET", "/r/tasks", params={"status": "running", "per_page": 5})
        print(response.request_id, response.data["page_meta"]["total_count"])
        ```

        Args:
            method: GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE.
            path: Below the base URL, beginning with a slash, such as `/r/tasks`; characters that no path can have are escaped.
            json: The body, as values that JSON has; `None` for no body.
            params: The query string by name; `None` values are left out, and a list is repeated.
            returns: A record's class, such as `Task`, to have the response decoded into; else it is parsed JSON.

        Raises:
            InvalidParameters: The method, path, body or query cannot be; nothing was sent. A path cannot leave the base URL.
            APIError: The server responded with an error.
            TransportError: The server did not respond; `may_have_been_sent` says whether it may have acted.
            DecodeError: The response is not JSON although its `Content-Type` says so, or is no such record.

        Source: https://docs.cyberun.cloud/api-reference

        """
        return await request(self._core.transport, method, path, json=json, params=params, returns=returns)

    async def submit(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        on_submitted: "Callable[[str], object] | None" = None,
        validate: bool = True,
        dispatch_target: str | None = None,
        target_pool: str | None = None,
        submitter_region: str | None = None,
        tool_type: str | None = None,
    ) -> str:
        """Submit a task, and give its id.

        The parameters are validated first against the workflow's definition, which is read once and cached; a validation
        that fails reads it again before it raises. Then files among the parameters (a `Path`, bytes, an open file or an
        `InputFile`) are uploaded; text is the key of a file that was uploaded before.

        Each submission that reaches the server is billed, and the API has no idempotency key. So the submission is retried
        only if it cannot have reached the server, or after a 429; `may_have_been_sent` of each error says whether a task
        may exist.

        ```python
        task_id = await client.submit("text-to-image", {"prompt": "a lighthouse at dusk"})
        ```

        Args:
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            parameters: The values by key; `None` is none.
            on_submitted: Called with the task's id as soon as it is known; may be async. With it, a submission that is in
                flight when the caller is cancelled gets `Timeouts.cleanup` (5 s) to complete. What it raises is raised,
                with the id as its `task_id`.
            validate: Whether to validate the parameters first.
            dispatch_target: Where the task is to run; left to the server by default, like the next three.
            target_pool: The pool of agents.
            submitter_region: The region it is submitted from.
            tool_type: `comfyui` or `nerfstudio`.

        Raises:
            InvalidParameters: The parameters do not fit, with every reason; nothing was submitted.
            StorageError: A file could not be uploaded; nothing was submitted.
            APIError: The server returned an error.
            TransportError: There was no response.
            DecodeError: The response does not say which task was made; `body` has its beginning.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        check_on_submitted(on_submitted)
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        core, submission = self._core, Submission()
        call = await core.preparer.prepare(workflow, parameters, validate=validate, dispatch=dispatch)
        await submit(
            core.transport, core.settings, call, submission, on_submitted, is_id_needed=on_submitted is not None
        )
        assert submission.task_id is not None
        return submission.task_id

    async def validate(self, workflow: str, parameters: Mapping[str, object] | None = None) -> None:
        """Check parameters against a workflow's definition, without uploading or submitting anything.

        It is the check that `submit()` makes: the definition is read once and remembered, and read afresh before
        anything is refused. The service itself may know further rules.

        Args:
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            parameters: By key.

        Raises:
            InvalidParameters: They do not fit; `problems` has one sentence for each reason.
            NotFoundError: There is no such workflow.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        await self._core.preparer.check(workflow, parameters)

    def events(self, task_id: str) -> EventStream:
        """Follow a task's events from now to its end.

        Raises:
            InvalidParameters: The id cannot be one.

        Source: https://docs.cyberun.cloud/api-reference/streaming-events

        """
        return EventStream(self._core.follow(task_id))

    async def wait_for_result(
        self,
        task_id: str,
        *,
        timeout: float | None = None,
        start_timeout: float | None = None,
        on_event: EventCallback | None = None,
        on_timeout: AbandonPolicy = "leave",
        on_cancel: AbandonPolicy = "leave",
        signal: Signal | None = None,
    ) -> TaskResult:
        """Wait until a task has completed, and give its result.

        The task's event stream and looking the task up race each other, so that the result comes at once where streams
        get through, and within one polling interval where they do not.

        Args:
            task_id: The task's id.
            timeout: Seconds until `WaitTimeout`; `None` waits for as long as the server responds.
            start_timeout: Seconds until `StartTimeout` if the task has not started, as no agent fits or is free. They count
                from the submission, or from the start of a wait for a task that exists; `None` sets no limit.
            on_event: Called with each event; may be async. What it raises ends the wait. Without it, a notebook shows the
                progress where `ipywidgets` or `rich` is installed, unless `CYBERUN_PROGRESS` is `0`.
            on_timeout: Whether to `"leave"` the task running when either deadline passes, or to `"cancel"` it.
            on_cancel: Likewise when the waiting task is cancelled.
            signal: An async callable that returns when the task may have ended, such as the `wait` of an event that your
                own messaging sets; the task is polled then. Webhooks that this process receives go to `wake()`.

        Raises:
            TaskFailed: The task failed.
            TaskCancelled: The task was cancelled.
            WaitTimeout: A deadline passed; `remote` says what became of the task. It is a `StartTimeout` if the task did not
                start in time.
            APIError: The task does not exist, or the key may not see it.
            TransportError: The server has not responded for longer than `Polling.unavailable_timeout`.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        core = self._core
        with show_wait(f"task {task_id}", on_event, on_cancel=on_cancel, task_id=task_id) as (emit, _):
            wait = Wait(
                timeout=timeout,
                start_timeout=start_timeout,
                on_event=emit,
                on_timeout=on_timeout,
                on_cancel=on_cancel,
                signal=signal,
            )
            return await wait_for_result(core.transport, core.shared_poller, core.settings, task_id, wait)

    def wake(self, event: "WebhookEvent") -> None:
        """Wake the waits of the task that a webhook is about; they poll it at once, whatever the delivery says.

        For use behind `cyberun_async.webhooks.verify`, in the process and event loop that waits.

        Source: https://docs.cyberun.cloud/cloud/guides/webhooks
        """
        task_id = getattr(event, "task_id", None)
        check_kind(task_id, str, "the task_id of a delivery", "a string, as in what webhooks.verify() gives")
        self._core.shared_poller.wakes.wake(event.task_id)

    async def run(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        start_timeout: float | None = None,
        on_event: EventCallback | None = None,
        on_timeout: AbandonPolicy = "leave",
        on_cancel: AbandonPolicy = "leave",
        on_submitted: "Callable[[str], object] | None" = None,
        validate: bool = True,
        dispatch_target: str | None = None,
        target_pool: str | None = None,
        submitter_region: str | None = None,
        tool_type: str | None = None,
    ) -> TaskResult:
        """Submit a task, wait until it has completed, and give its result: `submit()` and `wait_for_result()` in one.

        ```python
        result = await client.run("text-to-image", {"prompt": "a lighthouse at dusk"}, timeout=600)
        print(result.output, [file.name for file in result.files])
        ```

        The deadline includes the submission. With `"cancel"` or `on_submitted`, a submission that is in flight when the wait
        ends gets `Timeouts.cleanup` (5 s) to complete, so that its task can be cancelled, or reported.

        Args:
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            parameters: The values by key; files among them are uploaded first.
            timeout: Seconds until `WaitTimeout`; `None` waits for as long as the server responds.
            start_timeout: Seconds until `StartTimeout` if the task has not started, as no agent fits or is free. They count
                from the submission, or from the start of a wait for a task that exists; `None` sets no limit.
            on_event: Called with each event; may be async. What it raises ends the wait.
            on_timeout: Whether to `"leave"` the task running when either deadline passes, or to `"cancel"` it.
            on_cancel: Likewise when the waiting task is cancelled.
            on_submitted: Called with the task's id as soon as it is known, before the wait; may be async. What it raises
                ends the wait, with the id as its `task_id`, and leaves the task running.
            validate: Whether to validate the parameters first.
            dispatch_target: Where the task is to run; left to the server by default, like the next three.
            target_pool: The pool of agents.
            submitter_region: The region it is submitted from.
            tool_type: `comfyui` or `nerfstudio`.

        Raises:
            InvalidParameters: The parameters do not fit, with every reason; nothing was submitted.
            TaskFailed: The task failed.
            TaskCancelled: The task was cancelled.
            WaitTimeout: A deadline passed; `remote` says what became of the task. It is a `StartTimeout` if the task did not
                start in time.
            CyberunError: Whatever else `submit()` and `wait_for_result()` raise.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        core = self._core
        prepare = partial(core.preparer.prepare, workflow, parameters, validate=validate, dispatch=dispatch)
        check_on_submitted(on_submitted)
        with show_wait(workflow, on_event, on_cancel=on_cancel, on_submitted=on_submitted) as (emit, report):
            wait = Wait(
                timeout=timeout,
                start_timeout=start_timeout,
                on_event=emit,
                on_timeout=on_timeout,
                on_cancel=on_cancel,
                on_submitted=report,
            )
            return await run(core.transport, core.shared_poller, core.settings, prepare, wait)

    def map(
        self,
        workflow: str,
        items: "Items",
        *,
        max_in_flight: int = 100,
        timeout: float | None = None,
        start_timeout: float | None = None,
        on_event: EventCallback | None = None,
        on_error: "OnError" = "collect",
        on_timeout: AbandonPolicy = "leave",
        on_exit: AbandonPolicy = "leave",
        on_submitted: "Callable[[str, str], object] | None" = None,
        journal: "Journal | None" = None,
        resubmit: "Collection[Resubmit]" = (),
        attempts: int = 1,
        max_tasks: int | None = None,
        stop_after_failures: int | None = None,
        validate: bool = True,
        dispatch_target: str | None = None,
        target_pool: str | None = None,
        submitter_region: str | None = None,
        tool_type: str | None = None,
    ) -> "Batch":
        """Run a workflow for many items concurrently, and give the outcome of each.

        ```python
        async with client.map("text-to-image", items, max_in_flight=500) as batch:
            async for outcome in batch:
                print(outcome.key, outcome.error or outcome.result)
        ```

        One item's failure is that item's: it is the `error` of its outcome. A 429 narrows the number of items in flight,
        and success widens it again.

        Args:
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            items: The parameters of each item, or a tuple of a key and parameters; may be async, and endless: none is
                read before there is capacity for it.
            max_in_flight: Items in flight at once; 100 by default.
            timeout: Seconds that each task may take from its submission, else `WaitTimeout` is its item's error.
            start_timeout: Seconds that each task may stay in the queue, else `StartTimeout` is its item's error.
            on_event: Called with each event of each task; may be async. What it raises is its item's error.
            on_error: Whether an item that fails leaves the others alone (`"collect"`), or stops submitting and cancels the
                tasks in flight (`"cancel_rest"`); each item that was started has an outcome either way.
            on_timeout: Whether to `"leave"` a task running when one of its deadlines passes, or to `"cancel"` it.
            on_exit: Likewise with the tasks in flight when `async with` is left.
            on_submitted: Called with an item's key and its task's id as soon as that is known; may be async. What it
                raises is its item's error. Not called for tasks that a journal knows from an earlier run.
            journal: Remembers the items on disk, so that a batch that was killed resumes.
            resubmit: Which items of the journal are submitted again: `"uncertain"` ones, of which a task may exist that
                whose id is unknown, and `"failed"` ones. Each costs another task. None by default.
            attempts: How many tasks an item may cost while its tasks fail, those of earlier runs with the journal included; 1
                by default. A task that was cancelled is not submitted again.
            max_tasks: How many tasks this run may submit at most; then it starts no more items. `None` is no limit.
            stop_after_failures: How many items may fail in this run before it submits no more; the tasks in flight are waited
                for. Until the first success there are at most so many in flight, or 8, so that a broken workflow costs a
                handful of tasks. `None` never stops.
            validate: Whether to validate the parameters first.
            dispatch_target: Where the tasks are to run; left to the server by default, like the next three.
            target_pool: The pool of agents.
            submitter_region: The region they are submitted from.
            tool_type: `comfyui` or `nerfstudio`.

        Raises:
            ConfigurationError: One of the options cannot work; nothing was sent.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        return self._core.batches.map(
            items,
            partial(self._core.preparer.prepare, workflow, validate=validate, dispatch=dispatch),
            workflow=workflow,
            max_in_flight=max_in_flight,
            wait=Wait(
                timeout=timeout,
                start_timeout=start_timeout,
                on_event=on_event,
                on_timeout=on_timeout,
                on_cancel="leave",
            ),
            on_error=on_error,
            on_exit=on_exit,
            journal=journal,
            resubmit=resubmit,
            on_submitted=on_submitted,
            attempts=attempts,
            max_tasks=max_tasks,
            stop_after_failures=stop_after_failures,
        )

    async def submit_once(
        self,
        key: str,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        journal: "Journal",
        validate: bool = True,
        dispatch_target: str | None = None,
        target_pool: str | None = None,
        submitter_region: str | None = None,
        tool_type: str | None = None,
    ) -> str:
        """Give the id of the task that a key stands for, and submit it if there is none yet: idempotent by key.

        For a double click, a webhook that is delivered again, a message that a queue redelivers. Any number of callers may
        ask concurrently, and after a crash: the task is submitted once. A submission that the server has rejected does not
        count.

        ```python
        journal = Journal("orders.journal")
        task_id = await client.submit_once("order-7", "text-to-image", {"prompt": "a lake"}, journal=journal)
        ```

        Args:
            key: The caller's own id of the request, such as an order's or a delivery's; it counts for one workflow.
            workflow: A slug (`text-to-image`), a pinned slug (`text-to-image@2`), or a UUID.
            parameters: By key; files among them are uploaded before the task is submitted.
            journal: Remembers the keys on disk. It is opened and closed by each call, unless `async with journal` keeps
                it open; a call waits up to 10 s for another process that has it.
            validate: Whether to validate the parameters first.
            dispatch_target: Where the task is to run; left to the server by default, like the next three.
            target_pool: The pool of agents.
            submitter_region: The region it is submitted from.
            tool_type: `comfyui` or `nerfstudio`.

        Raises:
            InvalidParameters: The parameters do not fit, or are others than those that the key stands for.
            ConfigurationError: The journal cannot be opened or written; nothing was submitted.
            JournalInUse: Another process has it for longer.
            TransportError: The submission got no response, now or in an earlier call (`may_have_been_sent` is `True`): it is
                uncertain, and not submitted again until `Journal.settle()` says which task it is, or that there is none.
            CyberunError: Whatever else `submit()` raises.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        dispatch = Dispatch(dispatch_target, target_pool, submitter_region, tool_type)
        values = {} if parameters is None else parameters
        prepare = partial(self._core.preparer.prepare, workflow, values, validate=validate, dispatch=dispatch)
        return await self._core.batches.submit_once(key, workflow, values, journal, prepare)

    async def upload(
        self,
        source: FileSource,
        *,
        name: str | None = None,
        content_type: str | None = None,
        size: int | None = None,
        on_progress: "UploadProgress | None" = None,
    ) -> str:
        """Upload an input file, and give the key that stands for it as a `file` parameter.

        Files given as parameters of `submit()` and `run()` are uploaded by themselves.

        ```python
        key = await client.upload("cat.png")
        result = await client.run("img2img", {"image": key, "prompt": "a cat in oil"})
        ```

        Args:
            source: A path, bytes, a binary file object from where it stands, or an async iterable of bytes.
            name: The file's name with its extension; taken from the path or the open file by default.
            content_type: Its MIME type; taken from the name by default.
            size: Its exact number of bytes; needed for async iterables, and for files that cannot seek.
            on_progress: Called with the file, the bytes sent so far, and the bytes in all; may be async.

        Raises:
            InvalidParameters: The source cannot be a file.
            StorageError: It cannot be read, changed while it was read, or was not taken.
            APIError: The server returned no presigned URL for it.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/file-upload

        """
        file = input_file(source, name=name, content_type=content_type, size=size)
        return await self._core.files.uploads.upload(file, on_progress)

    async def download(
        self,
        task: "str | TaskResult | Outcome",
        directory: "str | os.PathLike[str]",
        *,
        concurrency: int = 4,
        on_progress: "DownloadProgress | None" = None,
    ) -> list[Path]:
        """Download every file of a result into a directory, and give their paths in the result's order.

        A file appears under its name only once it is complete, verified, and on the disk; until then its bytes are in a hidden
        temporary file, from which the same download resumes after an interruption, in another process too. What is there
        already is not fetched again; a different file of the same name stays, and the new one is called `name-2`.

        ```python
        paths = await client.download(await client.run("text-to-image", {"prompt": "a lake"}), "pictures")
        ```

        Args:
            task: A result, or the id of a task that has completed, or the outcome of a batch's item. A result without
                presigned URLs, as a journal gives back, is read again by its id.
            directory: Where the files go; it is made if it is missing.
            concurrency: Files at once, within `Limits.max_transfers`; 4 by default.
            on_progress: Called with the file, its bytes on the disk, and its bytes in all where the storage says
                so; may be async.

        Raises:
            StorageError: A file is missing: it cannot be fetched, checked or written, or the task has none yet.
            TaskFailed: The task failed, and has no files.
            TaskCancelled: The task was cancelled, and has no files.
            APIError: The server does not give the result.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        if hasattr(task, "unwrap"):
            # An outcome of a batch; one without a result has an error that says why.
            task = task.unwrap()
        return await self._core.files.download(task, directory, concurrency=concurrency, on_progress=on_progress)

    def open_file(
        self,
        file: OutputFile,
        *,
        start: int = 0,
        stop: int | None = None,
        http_range: str | None = None,
        if_range: str | None = None,
    ) -> "FileStream":
        """Stream an output file, or a part of it, without a disk: for a web backend that hands it on.

        Entering the stream asks the storage, so that the size, the type and the ETag are known before the first byte.
        The checksum is not compared, since the bytes are handed out as they come; the length is.

        ```python
        async with client.open_file(file, start=1_000_000) as chunks:
            print(chunks.size, chunks.content_type, chunks.etag)
            async for chunk in chunks:
                ...
        ```

        Args:
            file: One of `TaskResult.files`.
            start: The first byte, counted from 0; below zero it is counted from the end of the file. 0 by default.
            stop: The byte after the last one, as in a slice; `None` is the end of the file. A part that the file does not
                have holds no bytes, and makes `FileStream.status` 416.
            http_range: In place of the two, the `Range` header of a request that is answered; one that names several
                ranges, or none, is ignored.
            if_range: The `If-Range` header of that request: if the file has another version by now, the complete file is
                given instead of the part. So it is if the storage neither takes ranges nor says the size of the file.

        Raises:
            InvalidParameters: `start` and `stop` are no bounds of a part, or are given beside `http_range`.
            StorageError: On entering: the storage rejects the request, or does not respond.
            APIError: Likewise: the server gives no fresh presigned URL.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        return self._core.files.open(file, start=start, stop=stop, http_range=http_range, if_range=if_range)

    async def read_file(self, file: OutputFile, *, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Give the bytes of an output file, its checksum verified.

        Args:
            file: One of `TaskResult.files`.
            max_bytes: The most that are taken into memory; 64 MiB by default.

        Raises:
            StorageError: It is larger, cannot be fetched, or does not have its checksum.
            APIError: The server returned no fresh presigned URL.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/task/get-task-result

        """
        return await self._core.files.read(file, max_bytes)

    def __del__(self) -> None:
        """Warn of connections left open; closing them takes an event loop, which is not there any more."""
        core: ClientCore | None = vars(self).get("_core")
        if core is not None and core.is_open:
            message = f"unclosed {self!r}: use 'async with AsyncClient()' or await aclose()"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)


def core_of(client: AsyncClient) -> ClientCore:
    """Give what friends of a client may use: the relay, and the conformance checks."""
    return client._core  # noqa: SLF001 - a user sees none of it, and this is the one door
