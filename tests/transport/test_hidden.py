"""Keys and presigned URLs show nowhere: in no cause or context, no variable of our frames, no pickle, no log."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from hpack import Encoder
from support.raw import Peer, raw_server
from support.secrecy import everything_about, everything_logged, variables_of
from support.tables import table

from cyberun_async import (
    AsyncClient,
    ConfigurationError,
    CyberunError,
    OutputFile,
    Retries,
    StorageError,
    TaskEvent,
    decode_event,
)
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Key, Secret, secrets_of_url
from cyberun_async._transport import round_trip

KEY = "sk-" + "0123456789abcdef" * 2
TOKEN = "Zm9v/YmFy+.cXV4" + "9" * 30
SIGNATURE = "c2lnbmF0dXJl" * 3
LINKS = {
    "S3": f"https://b.test/a.png?X-Amz-Credential=AKIA1234567&X-Amz-Signature={SIGNATURE}",
    "Azure": f"https://b.test/a.png?sv=2024-01-01&sr=b&sig={SIGNATURE}%3D",
    "Google": f"https://b.test/a.png?GoogleAccessId=x&Expires=1&Signature={SIGNATURE}",
    "of an unknown kind": f"https://b.test/a.png?e=1&h={SIGNATURE}",
    "with a password": f"https://user:{SIGNATURE}@b.test/a.png",
}


@table("link", LINKS.values(), ids=LINKS)
@table(
    "quote",
    [
        pytest.param(lambda link: link, id="whole"),
        pytest.param(lambda link: link.replace("&", "&amp;"), id="escaped"),
        pytest.param(lambda link: link.partition("?")[2], id="the query"),
        pytest.param(lambda link: SIGNATURE, id="the signature"),
    ],
)
async def test_a_storage_that_quotes_the_link(link: str, quote: Callable[[str], str]) -> None:
    """What a storage's message repeats of a presigned URL is in no text, variable or pickle of the error."""
    said = f"<Error><Code>Denied</Code><Message>no: {quote(link)} is wrong</Message></Error>"

    def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.host == "b.test":
            return httpx.Response(403, text=said, headers={"Location": link, "ETag": f'"{SIGNATURE}"'})
        return httpx.Response(200, json={"id": "t-1", "task_status": "completed", "download_url": link})

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        async with AsyncClient(KEY, http_client=http, storage_client=http) as client:
            file = OutputFile(key="a", name="a.png", url=link, task_id="t-1")
            with pytest.raises(StorageError, match=r"403: Denied, no: .*is wrong") as caught:
                await client.read_file(file)
    assert SIGNATURE not in everything_about(caught.value)


@table("secret", [KEY, TOKEN], ids=["key", "token"])
@table(
    "reply",
    [
        pytest.param(b"Bearer {secret}\r\n\r\n", id="no status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nAuthorization Bearer {secret}\r\n\r\n", id="no header line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{secret}", id="no JSON"),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n["{secret}"]', id="another shape"),
        pytest.param(b"HTTP/1.1 401 X\r\nWWW-Authenticate: {secret}\r\n\r\n{secret}", id="a refusal"),
    ],
)
async def test_a_server_that_says_the_key_back(secret: str, reply: bytes) -> None:
    """It is in nothing that hangs on the error, be it hidden from a usual traceback, and in no log."""

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply.replace(b"{secret}", secret.encode()))

    async def provide() -> str:
        return secret

    with everything_logged() as logged:
        async with raw_server(answer) as server:
            async with AsyncClient(
                secret if secret == KEY else provide, team_id="t", base_url=server.url, retries=Retries(budget=0)
            ) as client:
                with pytest.raises(CyberunError) as caught:
                    await client.tasks.get("t-1")
    assert secret not in everything_about(caught.value)
    assert secret not in "\n".join(logged)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: AsyncClient(TOKEN + "\n"), id="a key that is none"),
        pytest.param(lambda: AsyncClient("ak-" + TOKEN), id="an agent's key"),
        pytest.param(lambda: AsyncClient(TOKEN), id="without a team"),
        pytest.param(lambda: AsyncClient(TOKEN, team_id="t", base_url="ftp://x"), id="another setting"),
    ],
)
@pytest.mark.parametrize("is_given", [True, False], ids=["argument", "environment"])
def test_variables_of_frames(make: Callable[[], AsyncClient], is_given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback with the variables of our frames, as rich and trackers of errors make it, shows no key."""
    if not is_given:
        monkeypatch.setenv("CYBERUN_API_KEY", TOKEN)
    with pytest.raises(ConfigurationError) as caught:
        make() if is_given else AsyncClient(base_url="ftp://x")
    seen = list(variables_of(caught.value))
    assert seen
    assert TOKEN not in "\n".join(seen)


async def test_variables_of_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one of a mistake of ours in the middle of a request, which comes as it is."""

    async def mistake(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(round_trip, "read_body", mistake)
    answering = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=answering) as http, AsyncClient(KEY, http_client=http) as client:
        with pytest.raises(ZeroDivisionError) as caught:
            await client.tasks.get("t-1")
    seen = "\n".join(variables_of(caught.value))
    assert "token = <hidden>" in seen
    assert KEY not in seen


def test_events_that_are_none() -> None:
    """An event that cannot be read leaves its data in no frame and no context."""
    data = json.dumps({"status": 7, "message": f"https://b.test/a?sig={SIGNATURE}"})
    with pytest.raises(CyberunError) as caught:
        decode_event("status", data[:-2], task_id="t-1")
    assert SIGNATURE not in everything_about(caught.value)


def test_header_blocks() -> None:
    """With HTTP/2 and every logger at DEBUG, no header block is logged, from which a key could be decoded."""
    AsyncClient(KEY)
    with everything_logged() as logged:
        Encoder().encode([(b"authorization", b"Bearer " + KEY.encode())])
    assert logged == []


def test_the_password_of_a_proxy() -> None:
    """What httpcore logs of how it asks a SOCKS proxy is logged without its password."""
    import logging

    AsyncClient(KEY)
    with everything_logged() as logged:
        logging.getLogger("httpcore.socks").debug("setup.started host='h' port=1 auth=(b'user', b'pass word')")
    assert "auth=[hidden]" in logged[0]
    assert "pass word" not in logged[0]


# The value itself


@table("hidden", [Key(KEY), Secret(KEY), Secret({"X-Key": KEY})], ids=repr)
def test_the_value(hidden: Secret[Any]) -> None:
    """A hidden value shows in no `repr`, text, format, variable or pickle; equal ones are equal."""
    assert KEY not in f"{hidden} {hidden!r} {hidden:>20} {[hidden]} {vars(type(hidden))}"
    assert KEY not in "".join(traceback.format_list([traceback.FrameSummary("f", 1, "n", locals={"key": hidden})]))
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ConfigurationError, match="a key is not pickled or copied"):
            send(hidden)
    assert hidden == Secret(hidden.reveal())
    assert hidden != Secret("another")
    assert hidden != KEY


def test_hashed() -> None:
    """It can be told apart in a table."""
    assert len({Key(KEY), Key(KEY), Secret(KEY), Key(TOKEN)}) == 2


def test_cut_out_while_in_use() -> None:
    """A key without a family is known by being in use, in every form that servers quote it in."""
    text = TOKEN[::-1]
    key = Key(text)
    quoted = text.replace("/", "%2F").replace("+", "%2B")
    assert redact(f"a {text} b {quoted} c") == "a [key] b [key] c"
    del key
    assert text in redact(f"a {text} b")


@table("link", LINKS.values(), ids=LINKS)
def test_cut_out_of_logs(link: str) -> None:
    """A presigned URL of any kind is cut where its secrets are not known, too."""
    # Another one than those that errors of other tests may still hold.
    unknown = SIGNATURE[::-1]
    link = link.replace(SIGNATURE, unknown)
    if "?" in link:
        assert redact(f"see {link}, or") == "see https://b.test/a.png?[signature] or"
        assert unknown not in redact(link.partition("?")[2]) or "h=" in link
    assert unknown not in redact(f"see {link}", secrets_of_url(Secret(link)))


@table("text", ["?" * 60_000, "a?b" * 20_000, "a.sig" * 12_000, "sig-" * 15_000, "http://" * 9_000])
def test_hostile_texts(text: str) -> None:
    """Searching a long text takes no longer for what is in it."""
    redact(text)


# Pickles and copies


@table("send", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
@table(
    "part",
    [
        pytest.param(lambda client: client, id="client"),
        pytest.param(lambda client: client.tasks, id="group"),
        pytest.param(lambda client: client.events("t-1"), id="events"),
        pytest.param(lambda client: client.open_file(OutputFile(key="a", name="a", url="", task_id="t")), id="file"),
        pytest.param(lambda client: client.map("text-to-image", []), id="batch"),
    ],
)
async def test_pickles(part: Callable[[AsyncClient], object], send: Callable[[object], object]) -> None:
    """A client, and what it has given, is neither pickled nor copied; the error says what to do."""
    async with AsyncClient(KEY) as client:
        with pytest.raises(ConfigurationError, match="make a client where they are used"):
            send(part(client))


def test_settings() -> None:
    """So are its settings."""
    with pytest.raises(ConfigurationError):
        pickle.dumps(attrs.evolve(AsyncClient(KEY)._core.settings))


def test_an_event_is_no_secret() -> None:
    """Records go wherever they like."""
    event: TaskEvent = decode_event("status", '{"status": "running"}', task_id="t-1")
    assert pickle.loads(pickle.dumps(event)) == event
