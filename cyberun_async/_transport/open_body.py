"""Opening a response whose body is streamed: sent once, signed in anew where a token is rejected and the body is there."""

from collections.abc import Callable

import httpx

from cyberun_async._errors import APIError
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.container_requests import ContainerRequest
from cyberun_async._settings import Settings
from cyberun_async._transport.body_stream import BodyStream, StreamedRequest
from cyberun_async._transport.credential import Credential
from cyberun_async._transport.response import Response
from cyberun_async._transport.round_trip import RoundTrip


async def open_body(
    trips: RoundTrip,
    credential: Credential,
    settings: Settings,
    asked: ContainerRequest,
    *,
    raise_for_status: bool,
    api_error: Callable[[Call[object], Response], APIError],
) -> BodyStream:
    """Send a request, and give its response as soon as its head is there; see `Transport.open_body`.

    Args:
        trips: Sends it.
        credential: Signs it in.
        settings: The client's.
        asked: The request.
        raise_for_status: Whether a status of 400 or above is an error.
        api_error: Gives that error.

    """
    opened: list[BodyStream] = []
    request = StreamedRequest(asked)
    failure: Exception | None = None
    try:
        response = await _send(trips, credential, settings, request, opened, raises=raise_for_status)
        if not opened:
            raise api_error(asked.call, response)
    except BaseException as error:
        for body in opened:
            await body.aclose()
        # What the content has raised is its owner's, and no failure of the layers that asked for it.
        failure = request.failure if isinstance(error, Exception) else None
        if failure is None:
            raise
    if failure is not None:
        raise failure
    return opened[0]


async def _send(
    trips: RoundTrip,
    credential: Credential,
    settings: Settings,
    request: StreamedRequest,
    opened: list[BodyStream],
    *,
    raises: bool,
) -> Response:
    call, sign_in = request.asked.call, credential.sign_in
    may_sign_in_anew = sign_in.has_provider and request.asked.is_replayable

    def keep(response: httpx.Response) -> bool:
        is_rejected = may_sign_in_anew and response.status_code == httpx.codes.UNAUTHORIZED
        if is_rejected or (raises and response.status_code >= httpx.codes.BAD_REQUEST):
            return False
        opened.append(BodyStream(request.asked, response, settings))
        return True

    token = await sign_in.token(call)
    await credential.rate_limit.wait()
    response = await trips.run(trips.keep_open, call, token, request.make, keep, is_proxied=True)
    if may_sign_in_anew and response.status == httpx.codes.UNAUTHORIZED:
        may_sign_in_anew = False
        token = await sign_in.token(call, rejected=token)
        response = await trips.run(trips.keep_open, call, token, request.make, keep, is_proxied=True)
    return response
