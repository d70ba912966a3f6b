"""Relay the events of tasks with Starlette: `uvicorn relay_starlette:app`."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from cyberun_async import AsyncClient
from cyberun_async.relay import HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        yield {"relay": relay}


async def events(request):
    task_id, last = request.path_params["task_id"], request.headers.get("last-event-id")
    return StreamingResponse(request.state.relay.stream(task_id, last_event_id=last), headers=HEADERS)


app = Starlette(routes=[Route("/tasks/{task_id}/events", events)], lifespan=lifespan)
