"""A complete test server in one object, on its own event loop and thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from typing_extensions import Self

from ._accounts import HOUR, Accounts, LocalTeam
from ._addresses import is_loopback, is_wildcard, listen, network_host, origin, reachable_host
from ._calls import RuntimeCalls
from ._clock import Clock
from ._containers import ContainerCalls
from ._control import Control
from ._demo import demo_workflows
from ._faults import FaultLayer, Faults
from ._guard import Guard
from ._http import ApiError, answer_api_error, answer_http_error
from ._operations import Exchange, Operations, Recorder
from ._runner import Runner
from ._scheduler import Scheduler
from ._script_values import Script, read_script
from ._sign_in import SignInCalls
from ._storage import Storage
from ._webhooks import Delivery, Webhooks
from ._workflows import LocalParameter, LocalWorkflow, Maker, ScriptMaker, Workflows
from .scripts import Step

API_PATH = "/api/v1"
STORAGE_PATH = "/storage"
CONTROL_PATH = "/_local"


class LocalCyberun:
    """The documented Cyberun Cloud API on loopback, with workflows that make real files.

    Example:
        ```python
        async with LocalCyberun() as server:
            print(server.base_url, server.api_key)
        ```

    Works under asyncio and trio, and as a plain ``with``: the server has its own loop in its own thread.

    Args:
        host: where to listen; ``"0.0.0.0"`` is every address, so that other machines reach it.
        port: 0 lets the system choose.
        pace: how long a second of a task's script takes, in seconds. 1 is for people to watch; the default suits tests.
        clock: ``"running"`` follows the machine; ``"held"`` stands still until ``await server.clock.advance(seconds)``.
        link_lifetime: seconds that a presigned URL is valid; an hour, as documented.
        demos: whether the demo workflows are there from the start.
        seed: of the dice that faults with a probability are thrown with.

    Attributes:
        clock: what everything that takes time waits on.
        faults: what is to go wrong.
        storage: the files.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        pace: float = 0.02,
        clock: Literal["running", "held"] = "running",
        link_lifetime: float = HOUR,
        demos: bool = True,
        seed: int = 0,
    ) -> None:
        self._address = (host, port)
        self._port = port
        self._control_token = secrets.token_urlsafe(24)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="local-cyberun-work")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._exchanges: list[Exchange] = []
        self.clock: Clock = Clock(held=clock == "held")
        self.faults: Faults = Faults(seed)
        self.storage: Storage = Storage(self.clock, prefix=STORAGE_PATH, link_lifetime=link_lifetime)
        self._accounts = Accounts(self.clock)
        self._team = self._accounts.add_team("Local team")
        self._sign_in = SignInCalls(self._accounts, self.clock, lambda: self.storage.origin, pace=pace)
        self._workflows = Workflows()
        self._scheduler = Scheduler(self.clock, self.storage, self._threads, pace=pace)
        self._webhooks = Webhooks(self._accounts, self.clock, self._threads)
        self._scheduler.on_end = self._webhooks.task_ended
        for workflow in demo_workflows() if demos else ():
            self._workflows.add(workflow, self.clock.now())
        self._runner = Runner(self._application())

    def __repr__(self) -> str:
        """Show where it is; its key is shown only by `api_key`."""
        where = self.base_url if self._thread is not None else "not started"
        return f"<{type(self).__name__} {where}>"

    @property
    def base_url(self) -> str:
        """What to give a client as its base URL."""
        return f"{self.storage.origin}{API_PATH}"

    @property
    def api_key(self) -> str:
        """An integration key (``sk-``)."""
        return self._team.api_key

    @property
    def device_key(self) -> str:
        """A device key (``dk-``), which may also call the management endpoints."""
        return self._team.device_key

    @property
    def agent_key(self) -> str:
        """An agent key (``ak-``), which the REST API rejects."""
        return self._team.agent_key

    @property
    def control_url(self) -> str:
        """Where other processes set faults, move the clock and see what was received; they need `control_token`."""
        return f"{self.storage.origin}{CONTROL_PATH}"

    @property
    def control_token(self) -> str:
        """What requests to `control_url` carry as ``Authorization: Bearer``."""
        return self._control_token

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self._address[0])

    @property
    def network_url(self) -> str | None:
        """What to give a client on another machine, where the server listens on every address; else None."""
        host = network_host() if is_wildcard(self._address[0]) else None
        return None if host is None else f"{origin(host, self._port)}{API_PATH}"

    @property
    def team_id(self) -> str:
        """The team that the keys of the server belong to, and that a user token must name in ``X-Team-ID``."""
        return self._team.id

    @property
    def jwt(self) -> str:
        """A fresh user token, good for an hour."""
        return self.issue_jwt()

    def issue_jwt(self, lifetime: float = HOUR, teams: Sequence[LocalTeam] = ()) -> str:
        """Sign a user token that expires `lifetime` seconds from now on the server's clock.

        Args:
            lifetime: in seconds.
            teams: those that the user belongs to; the server's first one by default.
        """
        return self._accounts.issue_jwt(lifetime, [team.id for team in teams] or [self.team_id])

    @property
    def teams(self) -> Sequence[LocalTeam]:
        """Every team; the server's own keys and tokens are those of the first one."""
        return tuple(self._accounts.teams)

    def add_team(self, name: str = "Another team") -> LocalTeam:
        """Make one more team, with keys and a user of its own, which sees nothing of the others."""
        return self._accounts.add_team(name)

    @property
    def refresh_token(self) -> str:
        """A fresh refresh token, good for one `POST /auth/refresh`."""
        return self._team.refresh_token

    def confirm_pairing(self, user_code: str) -> None:
        """Approve a device that shows this code, as a user does in the browser.

        Raises:
            ValueError: if no device waits with it.
        """
        try:
            self._sign_in.approve(user_code, self.team_id)
        except ApiError:
            raise ValueError(f"no device waits with the code {user_code!r}") from None

    def revoke(self, credential: str) -> None:
        """Refuse a key or a token from the next request on."""
        self._accounts.revoke(credential)

    @property
    def requests(self) -> Sequence[Exchange]:
        """What was received so far, in order; calls of the control path are left out."""
        return tuple(self._exchanges)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The tries to deliver webhooks so far, in order."""
        return tuple(self._webhooks.deliveries)

    def workflow(
        self,
        slug: str,
        *,
        parameters: Sequence[LocalParameter] = (),
        script: Sequence[Step] | ScriptMaker | None = None,
        cloud: bool = False,
        team: LocalTeam | None = None,
    ) -> Callable[[Maker], Maker]:
        """Turn a function into a workflow: it gets a `Job` and returns bytes, an `Output`, or several.

        Example:
            ```python
            @server.workflow("shout", parameters=[LocalParameter("text", required=True)])
            def shout(job: Job) -> bytes:
                return job.text("text").upper().encode()
            ```
        """

        def register(make: Maker) -> Maker:
            team_id = None if team is None else team.id
            self.add_workflow(LocalWorkflow(slug, make, tuple(parameters), script, is_cloud=cloud, team_id=team_id))
            return make

        return register

    def add_workflow(self, workflow: LocalWorkflow) -> LocalWorkflow:
        """Add a workflow; one whose slug is taken becomes its next version. Returns it as added, with its version."""
        return self._workflows.add(workflow, self.clock.now())

    def script(self, slug: str, steps: Sequence[Step], *, times: int | None = 1) -> None:
        """Give the next task of a workflow this life instead of its usual one. Several calls queue up.

        Args:
            slug: of the workflow.
            steps: of the life, as the functions of ``cyberun_async.local.scripts`` make them.
            times: how many tasks live so; None for all from now on.
        """
        self._scheduler.script_next(Script(slug, list(steps), times))

    def read_scripts(self, text: str) -> None:
        """Take in scripts as JSON: ``{"workflow": "text-to-image", "steps": [{"fail": "out of memory"}]}``, or a list of such.

        Raises:
            ValueError: if it is no JSON, or no script; the message says where.
        """
        try:
            value = json.loads(text)
            scripts = [read_script(each) for each in (value if isinstance(value, list) else [value])]
        except ApiError as error:
            raise ValueError(error.message) from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        for script in scripts:
            self._scheduler.script_next(script)

    def start(self) -> Self:
        """Listen. Returns at once: a connection made before the loop runs waits in the socket's queue.

        Raises:
            OSError: if the address cannot be listened on.
            RuntimeError: if the server was started before; make a new one.
        """
        if self._loop is not None:
            raise RuntimeError("a LocalCyberun can be started once")
        listener = listen(*self._address)
        # asyncio sets this itself only where a socket names its protocol; without it each reply waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = asyncio.new_event_loop()
        self.clock.run_on(self._loop)
        host, self._port = listener.getsockname()[:2]
        self.storage.origin = origin(reachable_host(host), self._port)
        self._thread = threading.Thread(
            target=self._run, args=[self._loop, listener], name="local-cyberun", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Cut what is open and leave nothing behind. Safe to call twice."""
        if self._loop is None or self._thread is None:
            return
        # The loop closes itself; between a look at it and the call, another stop() may have won.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._runner.stop_requested.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    def _run(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            loop.run_until_complete(self._runner.serve([listener]))
            # Tasks that still wait on the clock end here, and so does each advance().
            loop.run_until_complete(_cancel_all())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            self._threads.shutdown(cancel_futures=True)
            loop.close()

    def _application(self) -> Recorder:
        operations = Operations(Middleware(FaultLayer, self.faults))
        runtime = RuntimeCalls(self._accounts, self._workflows, self._scheduler, self.storage)
        containers = ContainerCalls(self._accounts, self.clock)
        calls = [
            *runtime.routes(operations),
            *containers.routes(operations),
            *self._webhooks.routes(operations),
            *self._sign_in.routes(operations),
        ]
        control = Control(
            self.faults,
            self._exchanges,
            self.clock,
            self._scheduler,
            lambda user_code: self._sign_in.approve(user_code, self.team_id),
        )
        guard = Middleware(Guard, self._control_token, self._address[0])
        several = [Middleware(self.storage.for_callers)] if is_wildcard(self._address[0]) else []
        app = Starlette(
            routes=[
                Mount(API_PATH, routes=calls, middleware=several),
                Mount(CONTROL_PATH, routes=control.routes(), middleware=[guard]),
                operations.route("storage.put", "PUT", f"{STORAGE_PATH}/{{key:path}}", self.storage.receive),
                operations.route("storage.get", "GET", f"{STORAGE_PATH}/{{key:path}}", self.storage.serve),
            ],
            exception_handlers={ApiError: answer_api_error, HTTPException: answer_http_error},
        )
        app.router.redirect_slashes = False
        return Recorder(app, self.clock, self._exchanges, CONTROL_PATH)


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
