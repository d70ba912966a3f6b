"""The control endpoints: for programs that know the token, for no web page, and with no value that breaks the server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from local.conftest import client_with
from starlette.datastructures import Headers
from support.tables import table

from cyberun_async.local import LocalCyberun
from cyberun_async.local._clock import LATEST
from cyberun_async.local._control_values import CHECKS
from cyberun_async.local._guard import guard_error

TOKEN = "the-token"
GOOD = {"host": "127.0.0.1:8000", "authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def control(server: LocalCyberun) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to the control endpoints with their token."""
    async with client_with(server, server.control_token) as client:
        client.base_url = f"{server.control_url}/"
        yield client


async def test_what_it_does(server: LocalCyberun, http: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    """A program in another process sets faults, moves the clock and reads what was received."""
    fault = {"kind": "status", "code": 418, "on": "agents.list", "headers": {"Retry-After": "7"}}
    assert (await control.post("faults", json=fault)).status_code == 201
    answer = await http.get("r/agents")
    assert (answer.status_code, answer.headers["retry-after"]) == (418, "7")
    fired = (await control.get("faults")).json()
    assert [(each["kind"], each["status"]) for each in fired] == [("status", 418)]
    requests = (await control.get("requests")).json()
    assert requests[-1]["operation"] == "agents.list"
    assert server.api_key not in json.dumps(requests)
    before = server.clock.time()
    assert (await control.post("clock", json={"seconds": 60})).status_code == 200
    assert server.clock.time() == before + 60
    assert (await control.delete("faults")).status_code == 204


# Who is let in


@table(
    ("headers", "listening_on", "status"),
    [
        pytest.param({}, "127.0.0.1", None, id="a program"),
        pytest.param({"authorization": f"bearer   {TOKEN}"}, "127.0.0.1", None, id="another way to write it"),
        pytest.param({"host": "localhost:8000"}, "127.0.0.1", None, id="localhost"),
        pytest.param({"host": "LocalHost"}, "127.0.0.1", None, id="any case, no port"),
        pytest.param({"host": "cyberun.localhost:1"}, "127.0.0.1", None, id="a name of loopback"),
        pytest.param({"host": "[::1]:8000"}, "127.0.0.1", None, id="IPv6"),
        pytest.param({"host": "10.1.2.3:8000"}, "0.0.0.0", None, id="an address of the network"),
        pytest.param({"host": "cyberun:8000"}, "0.0.0.0", None, id="a container"),
        pytest.param({"host": "10.1.2.3:8000"}, "10.1.2.3", None, id="the address listened on"),
        pytest.param({"host": "box.example:8000"}, "box.example", None, id="the name listened on"),
        pytest.param({"origin": "http://127.0.0.1:8000"}, "127.0.0.1", None, id="its own origin"),
        pytest.param({"sec-fetch-site": "none"}, "127.0.0.1", None, id="an address that was typed"),
        pytest.param({"authorization": ""}, "127.0.0.1", 401, id="no token"),
        pytest.param({"authorization": f"Basic {TOKEN}"}, "127.0.0.1", 401, id="another scheme"),
        pytest.param({"authorization": TOKEN}, "127.0.0.1", 401, id="no scheme"),
        pytest.param({"authorization": f"Bearer {TOKEN}x"}, "127.0.0.1", 401, id="a wrong token"),
        pytest.param({"authorization": "Bearer \xe9"}, "127.0.0.1", 401, id="a token that is not ASCII"),
        pytest.param({"host": ""}, "127.0.0.1", 403, id="no host"),
        pytest.param({"host": "evil.example"}, "127.0.0.1", 403, id="a name that was pointed here"),
        pytest.param({"host": "evil.example:8000"}, "0.0.0.0", 403, id="the same on every address"),
        pytest.param({"host": "127.0.0.1.evil.example"}, "127.0.0.1", 403, id="a name that begins like loopback"),
        pytest.param({"host": "evil.example#127.0.0.1"}, "127.0.0.1", 403, id="no host at all"),
        pytest.param({"host": "127.0.0.1@evil.example"}, "127.0.0.1", 403, id="a user"),
        pytest.param({"host": "10.1.2.3:8000"}, "127.0.0.1", 403, id="an address that is not listened on"),
        pytest.param({"host": "cyberun:8000"}, "127.0.0.1", 403, id="a name that is not listened on"),
        pytest.param({"host": "localhost.evil.example"}, "127.0.0.1", 403, id="a name that begins like localhost"),
        pytest.param({"origin": "http://evil.example"}, "127.0.0.1", 403, id="a page of another site"),
        pytest.param({"origin": "null"}, "127.0.0.1", 403, id="a page without a site"),
        pytest.param({"origin": "http://127.0.0.1:9000"}, "127.0.0.1", 403, id="a page of another port"),
        pytest.param({"origin": "https://127.0.0.1:8000"}, "127.0.0.1", 403, id="a page of another scheme"),
        pytest.param({"sec-fetch-site": "cross-site"}, "127.0.0.1", 403, id="fetch without cors"),
        pytest.param({"sec-fetch-site": "same-site"}, "127.0.0.1", 403, id="another port by its own words"),
    ],
)
def test_who_is_let_in(headers: dict[str, str], listening_on: str, status: int | None) -> None:
    """A program with the token is; a page of another site is not, whatever it knows."""
    error = guard_error(Headers({**GOOD, **headers}), TOKEN, listening_on)
    assert (error and error[0]) == status


@pytest.mark.parametrize("name", ["Origin", "Sec-Fetch-Site"])
async def test_a_header_that_comes_twice(control: httpx.AsyncClient, name: str) -> None:
    """Each one counts, and not the first alone."""
    good = {"Origin": str(control.base_url).partition("/_local")[0], "Sec-Fetch-Site": "none"}[name]
    evil = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}[name]
    assert (await control.get("requests", headers=[(name, good)])).status_code == 200
    assert (await control.get("requests", headers=[(name, good), (name, evil)])).status_code == 403


async def test_a_page_without_end(http: httpx.AsyncClient) -> None:
    """A number that Python does not read is refused like any other."""
    for number in ("9" * 5000, "0", "-1", "1.5", "\u0661"):
        answer = await http.get("r/tasks", params={"current_page": number})
        assert answer.status_code == 400


async def test_each_path_is_guarded(server: LocalCyberun, http: httpx.AsyncClient) -> None:
    """Without the token nothing is said of what is there, not even to a preflight; the API's own key is none."""
    for method in ("GET", "POST", "DELETE", "OPTIONS", "PUT", "HEAD"):
        for path in ("faults", "requests", "clock", "nothing", ""):
            for token in ("", f"Bearer {server.api_key}"):
                url, headers = f"{server.control_url}/{path}", {"Authorization": token}
                answer = await http.request(method, url, headers=headers, json={"seconds": 60})
                assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (401, None)


async def test_tokens_are_of_one_server() -> None:
    """Each server has its own token, which its repr does not show."""
    one, other = LocalCyberun(), LocalCyberun()
    assert len({one.control_token, other.control_token}) == 2
    assert one.control_token not in repr(one)
    for server in (one, other):
        server.start()
        server.stop()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_json_only(control: httpx.AsyncClient, kind: str | None) -> None:
    """What a form or a simple request of a page could send is refused, whatever it holds."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await control.post("clock", content=b'{"seconds": 60}', headers=headers)
    assert answer.status_code == 415


# What it takes

WRONG_BODIES = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "no number": b'{"seconds": NaN}',
    "infinity": b'{"seconds": Infinity}',
    "negative": b'{"seconds": -1}',
    "all time": b'{"seconds": 1e308}',
    "more than all time": b'{"seconds": 1e999}',
    "5,000 digits": b'{"seconds": ' + b"9" * 5000 + b"}",
    "beyond the last year": b'{"seconds": 32472144001}',
    "a boolean": b'{"seconds": true}',
    "text": b'{"seconds": "60"}',
    "nothing": b'{"seconds": null}',
    "no seconds": b"{}",
    "deep": b"[" * 50_000,
    "deep objects": b'{"seconds":' * 5_000,
    "no UTF-8": b'"\xff"',
}


@pytest.mark.parametrize("path", ["clock", "faults"])
async def test_wrong_bodies(server: LocalCyberun, control: httpx.AsyncClient, path: str) -> None:
    """Each is refused with 400, and the server goes on as it was."""
    before = server.clock.time()
    for name, body in WRONG_BODIES.items():
        answer = await control.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (name, answer.status_code) == (name, 400)
    assert server.clock.time() == before


async def test_a_large_body(control: httpx.AsyncClient) -> None:
    """It is not taken in."""
    answer = await control.post("faults", json={"kind": "malformed", "body": "x" * 70_000})
    assert answer.status_code == 413


async def test_time_ends(server: LocalCyberun, control: httpx.AsyncClient) -> None:
    """However often it is moved, the clock stays where dates can be written, and links and tokens, too."""
    for _ in range(3):
        answer = await control.post("clock", json={"seconds": LATEST / 2})
    assert answer.status_code == 400
    assert server.clock.time() <= LATEST
    async with client_with(server, server.jwt, **{"X-Team-ID": server.team_id}) as user:
        presigned = await user.post("r/files/presign", json={"file_name": "a", "file_size": 1, "content_type": "a/b"})
        assert presigned.status_code == 200
        put = await user.put(
            presigned.json()["upload_url"],
            content=b"x",
            headers={**presigned.json()["upload_headers"], "Authorization": ""},
        )
    assert put.status_code in {200, 400}


WRONG_VALUES = {
    "code": [99, 100, 204, 304, 600, 10**400, 503.0, "503", None, True],
    "message": ["x" * 3000, "\ud800", 7, None],
    "headers": [
        [],
        "x",
        {"a b": "c"},
        {"a": "b\r\nc: d"},
        {"a": "\u20ac"},
        {"a": 7},
        {"": "x"},
        {"Content-Length": "7"},
        {"transfer-encoding": "chunked"},
    ],
    "seconds": [-1, 1e308, 10**400, "1", None, True],
    "at": ["nowhere", 7, None, []],
    "keep": [-1, 1.5, "1", 10**400],
    "size": [0, -1, 10**12, 1.5],
    "content_type": ["a\r\nb: c", "\u20ac", 7, None],
    "body": ["\udfff", 7, None, ["x"]],
    "every": [0, -1, 1e308, "1"],
    "word": ["x" * 300, 7, None],
    "after": [-1, 1.5, "1"],
    "how": ["slowly", None],
    "event": ["started", None],
    "on": ["x" * 300, None, 7],
    "times": [0, -1, 1.5, "1"],
    "task_id": [7, "x" * 300, {}],
    "probability": [-0.1, 1.1, "1", None],
    "whatever": [[], {}, 1e308, "\ud800"],
}


def test_every_value_is_tried() -> None:
    """The table above has each argument."""
    assert set(CHECKS) < set(WRONG_VALUES)


async def test_wrong_values(control: httpx.AsyncClient) -> None:
    """A value that cannot be is refused with its name, by a server that goes on."""
    for name, values in WRONG_VALUES.items():
        for value in values:
            body = json.dumps({"kind": "status", "code": 503, name: value})
            answer = await control.post("faults", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["error_message"][: len(name) + 8]) == (400, f"{name} must be")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "nope"}, id="no such kind"),
        pytest.param({"kind": "clear"}, id="a method that is none"),
        pytest.param({"kind": "_add", "name": "x", "misbehave": "x", "aim": "x"}, id="a private one"),
        pytest.param({"kind": ["status"]}, id="a list"),
        pytest.param({"kind": None}, id="null"),
        pytest.param({}, id="nothing"),
        pytest.param({"kind": "status"}, id="too little"),
        pytest.param({"kind": "status", "code": 500, "colour": "red"}, id="an argument that it has not"),
        pytest.param({"kind": "status", "code": 500, "\ud800": 1}, id="an argument without bytes"),
    ],
)
async def test_wrong_faults(control: httpx.AsyncClient, fault: dict[str, object]) -> None:
    """They are refused with 400."""
    body = json.dumps(fault)
    answer = await control.post("faults", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_faults_are_bounded(control: httpx.AsyncClient, server: LocalCyberun) -> None:
    """No more are kept than each request can be held against."""
    for _ in range(1000):
        server.faults.status(503, on="nothing")
    assert (await control.post("faults", json={"kind": "silent_stream"})).status_code == 409
    assert (await control.delete("faults")).status_code == 204
    assert (await control.post("faults", json={"kind": "silent_stream"})).status_code == 201


async def test_the_api_takes_no_deep_or_endless_json(http: httpx.AsyncClient) -> None:
    """What is no JSON is a 400 of the API, too."""
    for body in (b"[" * 50_000, b'{"parameters": {"prompt": NaN}}'):
        answer = await http.post("r/workflows/slug/text-to-image/run", content=body)
        assert answer.status_code == 400


# Where it listens


async def test_every_address() -> None:
    """A server on every address says one that clients can use, and its links lead to the host that a client asked."""
    with LocalCyberun(host="0.0.0.0") as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        port = server.base_url.split(":")[2].partition("/")[0]
        async with client_with(server, server.api_key) as client:
            body = {"file_name": "a", "file_size": 1, "content_type": "a/b"}
            for host in (f"127.0.0.1:{port}", f"box:{port}", "[::1]:80"):
                answer = await client.post("r/files/presign", json=body, headers={"Host": host})
                assert answer.json()["upload_url"].startswith(f"http://{host}/storage/")
            answer = await client.post("r/files/presign", json=body, headers={"Host": "a b"})
            assert answer.status_code == 400 or answer.json()["upload_url"].startswith("http://127.0.0.1:")


def test_ipv6() -> None:
    """Its address is written in brackets."""
    server = LocalCyberun(host="::1")
    try:
        server.start()
    except OSError:
        pytest.skip("there is no IPv6 here")
    server.stop()
    assert server.base_url.startswith("http://[::1]:")
