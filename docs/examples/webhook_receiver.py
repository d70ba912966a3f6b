"""Receive webhooks: `CYBERUN_WEBHOOK_SECRETS=whsec_... uvicorn webhook_receiver:app`."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cyberun_async.webhooks import DEFAULT_MAX_BYTES, WebhookError, verify

SECRETS = os.environ["CYBERUN_WEBHOOK_SECRETS"].split()  # The new one and the old one, while a secret is rotated.
seen: set[tuple[str, str]] = set()  # In a real application a table, since a restart must not forget it.


async def receive(request: Request) -> Response:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > DEFAULT_MAX_BYTES:
            return Response(status_code=413)
    try:
        event = verify(body, request.headers, SECRETS)
    except WebhookError as error:
        print("rejected:", error, flush=True)
        return Response(status_code=400)
    if event.dedupe_key not in seen:  # A delivery may come up to four times.
        seen.add(event.dedupe_key)
        print(event.task_id, event.status, flush=True)
    return Response(status_code=204)


app = Starlette(routes=[Route("/webhook", receive, methods=["POST"])])
