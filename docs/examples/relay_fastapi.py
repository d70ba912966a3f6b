"""Relay the events of tasks with FastAPI: `uvicorn relay_fastapi:app`."""

import signal
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from cyberun_async import AsyncClient, InvalidParameters, NotFoundError
from cyberun_async.relay import SSE_HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        # Streams do not end by themselves when a server stops.
        with relay.draining_on(signal.SIGINT, signal.SIGTERM):
            yield {"relay": relay}


app = FastAPI(lifespan=lifespan)


@app.get("/tasks/{task_id}/events")
async def events(task_id: str, request: Request, last_event_id: Annotated[str | None, Header()] = None):
    try:
        stream = await request.state.relay.open(task_id, last_event_id=last_event_id)
    except (NotFoundError, InvalidParameters):
        raise HTTPException(404) from None
    return StreamingResponse(stream, headers=SSE_HEADERS)
