"""Relay the events of tasks with aiohttp: `python relay_aiohttp.py`."""

from aiohttp import web

from cyberun_async import AsyncClient, InvalidParameters, NotFoundError
from cyberun_async.relay import SSE_HEADERS, Relay

RELAY = web.AppKey("relay", Relay)


async def lifespan(app):
    async with AsyncClient() as client, Relay(client) as app[RELAY]:
        yield


async def drain(app):
    # Streams do not end by themselves when a server stops.
    await app[RELAY].drain()


async def events(request):
    task_id, last = request.match_info["task_id"], request.headers.get("last-event-id")
    try:
        stream = await request.app[RELAY].open(task_id, last_event_id=last)
    except (NotFoundError, InvalidParameters):
        raise web.HTTPNotFound from None
    async with stream as chunks:
        response = web.StreamResponse(headers=SSE_HEADERS)
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
    return response


app = web.Application()
app.router.add_get("/tasks/{task_id}/events", events)
app.cleanup_ctx.append(lifespan)
app.on_shutdown.append(drain)

if __name__ == "__main__":
    # So that a tab that is closed is noticed at once, and not with the next bytes for it.
    web.run_app(app, handler_cancellation=True)
