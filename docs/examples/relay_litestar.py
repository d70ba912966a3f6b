"""Relay the events of tasks with Litestar: `uvicorn relay_litestar:app`."""

import signal
from contextlib import asynccontextmanager

from litestar import Litestar, Request, get
from litestar.exceptions import NotFoundException
from litestar.response import Stream

from cyberun_async import AsyncClient, InvalidParameters, NotFoundError
from cyberun_async.relay import SSE_HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        app.state.relay = relay
        # Streams do not end by themselves when a server stops.
        with relay.draining_on(signal.SIGINT, signal.SIGTERM):
            yield


@get("/tasks/{task_id:str}/events")
async def events(request: Request) -> Stream:
    task_id, last = request.path_params["task_id"], request.headers.get("last-event-id")
    try:
        stream = await request.app.state.relay.open(task_id, last_event_id=last)
    except (NotFoundError, InvalidParameters):
        raise NotFoundException from None
    return Stream(stream, headers=SSE_HEADERS)


# Litestar would set up logging for the whole process, on a thread of its own.
app = Litestar([events], lifespan=[lifespan], logging_config=None)
