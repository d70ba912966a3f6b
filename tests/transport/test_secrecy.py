"""No key, no header that carries one, and no signed URL gets into a log, a `repr`, an error or a traceback."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from urllib.parse import quote

import attrs
import httpx
import pytest
from support.raw import Peer, raw_server
from support.tables import table

from cyberun_async import APIError, AsyncClient, CyberunError, DecodeError, Limits, Observer, Retries
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.secret import Key
from cyberun_async._protocol.sign_in import poll_pairing, refresh_tokens, start_pairing
from cyberun_async._protocol.webhooks import rotate_webhook_secret
from cyberun_async._transport.anonymous import anonymous_settings
from cyberun_async._transport.connections import Connections
from cyberun_async._transport.requests import make_request
from cyberun_async._transport.transport import Transport

KEY = "sk-" + "0123456789abcdef" * 3
# Its family shows nowhere, so that it can only be hidden by being known.
TOKEN = "Zm9v/YmFy+.cXV4" + "9" * 30
SIGNED = "https://bucket.test/a.png?X-Amz-Credential=AKIA&X-Amz-Signature=deadbeef"


class Everything(logging.Handler):
    """Keeps each record that reaches the root, formatted as a user would see it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter("%(name)s %(message)s").format(record) + repr(record.__dict__))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Collect what is logged, by everybody, at the lowest level."""
    handler, root = Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.texts
    root.removeHandler(handler)
    root.setLevel(before)


class Keeper(Observer):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.records: list[object] = []

    def on_request(self, record: object) -> None:
        self.records.append(record)

    on_response = on_retry = on_wait = on_request


def everything_about(error: BaseException) -> str:
    """Give each text that an error may turn into, and those of whatever caused it."""
    texts = ["".join(traceback.format_exception(type(error), error, error.__traceback__))]
    texts += [repr(vars(error)), repr(pickle.dumps(error)), repr(pickle.loads(pickle.dumps(error)))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [str(seen), repr(seen)]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(texts)


@table(
    "body",
    [
        pytest.param('{{"error_message": "bad key {secret}"}}', id="in the message"),
        pytest.param("no such key: {secret}", id="in a text"),
        pytest.param('{{"error_message": "{escaped}"}}', id="in the message, escaped"),
        pytest.param('{{"error_message": "%s{secret}"}}' % ("x" * 1970), id="where the message is cut"),
        pytest.param("%s{secret}" % ("x" * 1970), id="where the text is cut"),
        pytest.param('{{"error_message": "see {signed}"}}', id="with a signed URL"),
    ],
)
@table("secret", [KEY, TOKEN], ids=["key", "token"])
async def test_echo(secret: str, body: str, logged: list[str]) -> None:
    """A server that says our key back, or a signed URL, says it to nobody but us, whatever the status."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    said = body.format(secret=secret, escaped=escaped, signed=SIGNED)
    keeper, seen = Keeper(), ""

    async def echo(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(said, status=status, headers=f"X-Request-ID: {secret}\r\nLocation: {SIGNED}\r\n")

    async def provide() -> str:
        return secret

    async with raw_server(echo) as server:
        async with AsyncClient(
            provide if secret == TOKEN else secret,
            team_id="team",
            base_url=server.url,
            retries=Retries(initial=0.001, budget=0.002),
            observer=keeper,
        ) as client:
            for status in (302, 400, 401, 403, 500, 429):
                with pytest.raises(APIError) as caught:
                    await client.tasks.get("t-1")
                assert caught.value.status == status
                assert secret not in repr(client) + repr(client._core.settings) + repr(vars(client._core.transport))
                seen += everything_about(caught.value)
    seen += repr(keeper.records) + "\n".join(map(str, keeper.records))
    for piece in (secret, secret[:20], "deadbeef"):
        assert piece not in seen
    # What httpcore logs of a server's headers can only be searched for what looks like a key.
    searched = [text for text in logged if secret == KEY or not text.startswith("httpcore")]
    assert secret not in "\n".join(searched)
    assert "deadbeef" not in "\n".join(logged)


@pytest.mark.parametrize("secret", [KEY, TOKEN], ids=["key", "token"])
async def test_ordinary_use(secret: str, logged: list[str]) -> None:
    """With every logger at its lowest level, neither key nor header value is in any record."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.answer("{}", status=503)
        await peer.request()
        await peer.answer()
        await peer.until_closed()

    async with raw_server(answer) as server:
        async with AsyncClient(secret, team_id="team", base_url=server.url, retries=Retries(initial=0.001)) as client:
            await client.tasks.get("t-1")
        assert secret.encode() in server.requests[0]
    assert any(text.startswith("cyberun_async.transport ") for text in logged)
    assert any(text.startswith("httpcore.") for text in logged)
    assert secret not in "\n".join(logged)
    assert "Bearer" not in "\n".join(logged)


@table(
    "reply",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nAuthorization Bearer {secret}\r\n\r\n", id="a line that is no header"),
        pytest.param(b"Bearer {secret}\r\n\r\n", id="a line that is no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: {secret}\r\n\r\n", id="a content type"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: {secret}\r\n\r\n", id="a compression"),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{{"id": {{"{secret}": 1}}}}', id="an answer of another shape"),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{{"created_at": "{secret}"}}', id="no moment"),
        pytest.param(b"HTTP/1.1 302 X\r\nLocation: https://{secret}@x.test/{secret}?{secret}\r\n\r\n", id="a redirect"),
        pytest.param(b"HTTP/1.1 302 X\r\nLocation: /{secret}\r\n\r\n", id="a redirect on the same host"),
    ],
)
@table("secret", [KEY, TOKEN], ids=["key", "token"])
@table("is_stream", [False, True], ids=["call", "stream"])
async def test_nonsense(secret: str, reply: bytes, is_stream: bool) -> None:
    """Nor does it get out where the answer makes no sense, and the error quotes it."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply.decode().format(secret=secret).replace("{{", "{").replace("}}", "}").encode())

    async with raw_server(answer) as server:
        async with AsyncClient(secret, team_id="team", base_url=server.url, retries=Retries(budget=0)) as client:
            call = client._core.transport.open_stream(endpoints.stream_task_events("t-1"))
            with pytest.raises(CyberunError) as caught:
                await (call if is_stream else client.tasks.get("t-1"))
            if not is_stream:
                call.close()
    seen = everything_about(caught.value)
    assert secret not in seen
    assert quote(secret, safe="") not in seen
    assert isinstance(caught.value, (APIError, DecodeError)) or "[key]" in seen


@table(
    "reply",
    [
        pytest.param('{{"device_code": "{secret}"}}', id="a field is missing"),
        pytest.param('{{"device_code": "{secret}", "user_code"', id="it breaks off"),
        pytest.param("{secret}", id="no JSON"),
        pytest.param('{{"device-code": "{secret}", "refreshToken": "{secret}", "key": "{secret}"}}', id="other names"),
        pytest.param("%s{secret}" % ("x" * 200), id="too large"),
    ],
)
@table(
    "call",
    [start_pairing(), poll_pairing(Key(KEY)), refresh_tokens(Key(KEY)), rotate_webhook_secret("w-1")],
    ids=lambda call: call.path,
)
async def test_a_new_secret(call: Call[object], reply: str) -> None:
    """A secret that a response was to give is in no error about that response, which is the first to have it."""
    secret = TOKEN[:20]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=reply.format(secret=secret))

    settings = attrs.evolve(anonymous_settings("http://localhost"), limits=Limits(max_response_bytes=200))
    transport = Transport(settings, Connections(settings, httpx.AsyncClient(transport=httpx.MockTransport(answer))))
    with pytest.raises(DecodeError) as caught:
        await transport.send(call)
    assert secret not in everything_about(caught.value)


@table(
    ("location", "origin"),
    [
        ("https://login.test/sso?token=abc#frag", "https://login.test"),
        ("http://login.test:8080/", "http://login.test:8080"),
        ("https://user:pass@login.test/", "https://login.test"),
        ("https://login.test#abc", "https://login.test"),
        ("https://login.test?abc", "https://login.test"),
        ("HTTPS://login.test/x", "HTTPS://login.test"),
        ("/login?token=abc", "another place"),
        ("//login.test/abc", "another place"),
        ("javascript:abc", "another place"),
        ("https://", "another place"),
        ("", "another place"),
    ],
)
async def test_redirects(location: str, origin: str) -> None:
    """Redirects of the API are not followed; the error names where it would go, but no more of that, and the likely cause."""
    requests = []

    def redirect(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(307, headers={"Location": location})

    http = httpx.AsyncClient(transport=httpx.MockTransport(redirect))
    async with AsyncClient(KEY, base_url="http://localhost", http_client=http) as client:
        for call in (client.tasks.get("t-1"), client.submit("text-to-image", validate=False)):
            with pytest.raises(APIError) as caught:
                await call
            assert caught.value.message == f"it redirects to {origin}"
    assert len(requests) == 2


async def test_what_is_sent(logged: list[str]) -> None:
    """What stands for a request shows no key where it is printed."""

    async def provide() -> str:
        return TOKEN

    async with AsyncClient(provide, team_id="team") as client:
        request = make_request(endpoints.get_task("t-1"), client._core.settings, Key(TOKEN), {}, {})
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        for shown in (
            request,
            request.headers,
            client,
            client._core.settings,
            attrs.evolve(client._core.settings, token=Key(KEY)),
        ):
            assert TOKEN not in repr(shown)
            assert KEY not in repr(shown)
            assert TOKEN not in str(shown)
