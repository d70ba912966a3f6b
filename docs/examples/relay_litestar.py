"""Relay the events of tasks with Litestar: `uvicorn relay_litestar:app`."""

from contextlib import asynccontextmanager

from litestar import Litestar, Request, get
from litestar.response import Stream

from cyberun_async import AsyncClient
from cyberun_async.relay import HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        app.state.relay = relay
        yield


@get("/tasks/{task_id:str}/events")
async def events(request: Request) -> Stream:
    task_id, last = request.path_params["task_id"], request.headers.get("last-event-id")
    return Stream(request.app.state.relay.stream(task_id, last_event_id=last), headers=HEADERS)


# Litestar would set up logging for the whole process, on a thread of its own.
app = Litestar([events], lifespan=[lifespan], logging_config=None)
