"""Relay the events of tasks with FastAPI: `uvicorn relay_fastapi:app`."""

from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, Request
from fastapi.responses import StreamingResponse

from cyberun_async import AsyncClient
from cyberun_async.relay import HEADERS, Relay


@asynccontextmanager
async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as relay:
        yield {"relay": relay}


app = FastAPI(lifespan=lifespan)


@app.get("/tasks/{task_id}/events")
async def events(task_id: str, request: Request, last_event_id: Annotated[str | None, Header()] = None):
    return StreamingResponse(request.state.relay.stream(task_id, last_event_id=last_event_id), headers=HEADERS)
