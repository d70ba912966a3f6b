"""A readiness check (health check): whether the service answers this client, and what time it is there."""

import time

import anyio
import attrs

from cyberun_async._errors import TransportTimeout
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.http_dates import parse_http_date
from cyberun_async._transport.transport import Transport
from cyberun_async._validators import SECONDS, check_above_zero


@attrs.frozen(kw_only=True)
class Ping:
    """What one cheap call to the service shows.

    Source: https://docs.cyberun.cloud/api-reference/task/list-tasks

    Attributes:
        seconds: How long the call took.
        clock_skew: Seconds by which this machine's clock is ahead of the service's, within about a second; below 0 it is
            behind. `None` where the service does not say what time it is. Tokens, presigned URLs and webhooks expire by
            the clock: more than a minute is worth an alarm.

    """

    seconds: float
    clock_skew: float | None = None


async def ping(transport: Transport, timeout: float) -> Ping:
    """Read a list of one task; see `AsyncClient.ping`."""
    check_above_zero(timeout, "timeout", SECONDS)
    call = endpoints.list_tasks(1, 1)
    started = anyio.current_time()
    with anyio.move_on_after(timeout):
        answer = await transport.fetch(call)
        seconds = anyio.current_time() - started
        transport.read(call, answer)
        # The header has whole seconds: on average the moment was half a second later, and half of the way ago.
        date = parse_http_date(answer.headers.get("date"))
        skew = None if date is None else time.time() - seconds / 2 - (date + 0.5)
        return Ping(seconds=seconds, clock_skew=skew)
    raise TransportTimeout(
        f"not done within {timeout:g} s", method=call.method, path=call.path, may_have_been_sent=True
    )
