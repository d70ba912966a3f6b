"""Relay the events of tasks with Starlette: `uvicorn relay_starlette:app`."""

import signal
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.routing import Route

from cyberun_async import AsyncClient, InvalidParameters, NotFoundError
from cyberun_async.relay import SSE_HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        # Streams do not end by themselves when a server stops.
        with relay.draining_on(signal.SIGINT, signal.SIGTERM):
            yield {"relay": relay}


async def events(request):
    task_id, last = request.path_params["task_id"], request.headers.get("last-event-id")
    try:
        stream = await request.state.relay.open(task_id, last_event_id=last)
    except (NotFoundError, InvalidParameters):
        raise HTTPException(404) from None
    return StreamingResponse(stream, headers=SSE_HEADERS)


app = Starlette(routes=[Route("/tasks/{task_id}/events", events)], lifespan=lifespan)
