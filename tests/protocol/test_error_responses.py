"""From an answer that is a refusal to the error that says so."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from cyberun_async._protocol.error_responses import api_error, parse_retry_after
from cyberun_async._protocol.secret import Key

KEY = "sk-0123456789abcdef"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
LINK = "https://s3.example.com/in/a.png?X-Amz-Credential=AKIA&X-Amz-Expires=3600&X-Amz-Signature=f00"


def refused(status: int = 404, body: bytes = b"", **headers: str) -> APIError:
    """Give the error for an answer."""
    return api_error(
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        body,
        method="GET",
        path="/r/tasks/x",
        secrets=(Key(KEY),),
        task_id="x",
    )


@table(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIError),
        (408, APIError),
        (409, ConflictError),
        (410, APIError),
        (413, APIError),
        (418, APIError),
        (422, BadRequestError),
        (429, RateLimitError),
        (451, APIError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (599, ServerError),
        (301, APIError),
        (304, APIError),
    ],
)
@table(
    ("body", "message"),
    [
        pytest.param(b'{"error_message": "resource not found"}', "resource not found", id="as documented"),
        pytest.param(b'{"error_message": "nope", "feature": "gpu"}', "nope", id="more than documented"),
        pytest.param('{"error_message": "größer"}'.encode(), "größer", id="not ASCII"),
        pytest.param(b'{"error_message": "' + b"x" * 5000 + b'"}', "x" * 2000, id="very long"),
        pytest.param(b'{"error_message": ""}', None, id="empty message"),
        pytest.param(b'{"error_message": " \\n"}', None, id="blank message"),
        pytest.param(b'{"error_message": null}', None, id="null message"),
        pytest.param(b'{"error_message": {"a": 1}}', '{"a": 1}', id="message that is no text"),
        pytest.param(b'{"detail": "x"}', "x", id="another shape"),
        pytest.param(b'["error_message"]', "error_message", id="a list"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html>Bad  Gateway</html>", "Bad Gateway", id="HTML"),
        pytest.param(b"\xff\xfe\x00", None, id="no text"),
        pytest.param(b"[" * 100_000, None, id="nested deeply"),
    ],
)
def test_refusal(status: int, kind: type[APIError], body: bytes, message: str | None) -> None:
    """The status decides which error it is, and the one documented field what it says."""
    error = refused(status, body)

    assert type(error) is kind
    assert (error.status, error.method, error.path, error.task_id) == (status, "GET", "/r/tasks/x", "x")
    assert error.body == body.decode("utf-8", "replace")[:2000]
    if message is not None:
        assert error.message == message
        assert str(error).startswith(f"GET /r/tasks/x failed with {status}: {message}; ")
    elif status >= 400:
        assert error.message == "the server gave no reason"


@table(
    ("body", "words"),
    [
        pytest.param('{"error": "no such task"}', "no such task", id="error"),
        pytest.param('{"error": {"message": "no such task", "code": 5}}', "no such task", id="error.message"),
        pytest.param('{"error": {"code": 5}}', '{"code": 5}', id="error that is an object without words"),
        pytest.param('{"message": "no such task"}', "no such task", id="message"),
        pytest.param('{"error": true, "message": "no such task"}', "no such task", id="error that is a flag"),
        pytest.param('{"error_message": "", "error": "no such task"}', "no such task", id="the first that says it"),
        pytest.param(
            '{"detail": [{"loc": ["body", "steps"], "msg": "too large"}]}', "body.steps: too large", id="FastAPI"
        ),
        pytest.param('{"detail": [{"msg": "a"}, {"msg": "b"}, 5]}', "a; b", id="a list of problems"),
        pytest.param('{"errors": ["a", "b"]}', "a; b", id="a list of texts"),
        pytest.param('{"code": 5, "message": null}', '{"code": 5}', id="an object without words"),
        pytest.param('{"error": false}', None, id="nothing but a flag"),
        pytest.param('{"error": {}}', None, id="nothing but an empty object"),
        pytest.param('"no such task"', "no such task", id="text in JSON"),
        pytest.param("5", "5", id="a number"),
        pytest.param("true", None, id="a boolean"),
        pytest.param("[]", None, id="an empty list"),
        pytest.param("no such\ttask\n", "no such task", id="plain text"),
        pytest.param('{"error_message": "cut o', '{"error_message": "cut o', id="JSON that was cut off"),
        pytest.param("{'error': 'no such task'}", "{'error': 'no such task'}", id="no JSON"),
        pytest.param('{"error_message": "no\nway"}', "no\nway", id="a line break in JSON"),
        pytest.param('\ufeff{"error_message": "no"}', "no", id="a byte-order mark"),
        pytest.param("Schl\ufffdssel falsch", "Schl\ufffdssel falsch", id="another charset"),
        pytest.param("[[", None, id="brackets alone"),
        pytest.param(
            "<html><head><title>502 Bad Gateway</title></head><body><h1>x</h1></body></html>",
            "502 Bad Gateway",
            id="title",
        ),
        pytest.param(
            "<html><style>p {}</style><p>Try &amp; wait</p></html>", "Try & wait", id="a page without a title"
        ),
        pytest.param("<html><body></body></html>", None, id="an empty page"),
        pytest.param('{"error": ' * 6 + "5" + "}" * 6, '{"error": ' * 5 + "5" + "}" * 5, id="deeper than any error"),
    ],
)
def test_words_of_an_error(body: str, words: str | None) -> None:
    """The server's reason is found in whatever shape it stands, and only where there is none an error says so."""
    message = refused(400, body.encode()).message

    assert message == (words or "the server gave no reason")


def test_request_id() -> None:
    """A name for the request is kept where the server sends one, for its support to look up."""
    assert (refused(x_request_id="r-1").request_id, refused().request_id) == ("r-1", None)


@table(
    ("location", "place"),
    [
        pytest.param("https://elsewhere.example/api/v1/x?token=secret", "https://elsewhere.example", id="host"),
        pytest.param("http://localhost:8080/x", "http://localhost:8080", id="port"),
        pytest.param("https://user:password@host.example/x", "https://host.example", id="user and password"),
        pytest.param("https://[::1]:8080/x", "https://[::1]:8080", id="IPv6"),
        pytest.param("https://host.example?secret", "https://host.example", id="query at once"),
        pytest.param("https://host.example#secret", "https://host.example", id="fragment at once"),
        pytest.param("https://host.example\\secret", "another place", id="backslash"),
        pytest.param("/login?next=secret", "another place", id="path"),
        pytest.param("//host.example/x", "another place", id="no scheme"),
        pytest.param("javascript:alert(1)", "another place", id="another scheme"),
        pytest.param("", "another place", id="empty"),
    ],
)
def test_redirect(location: str, place: str) -> None:
    """A redirect is not followed: the error names where it would lead, and no more than that."""
    error = refused(307, b"", location=location)

    assert error.message == f"it redirects to {place}"
    assert "secret" not in str(error)


@table(
    ("words", "shown"),
    [
        pytest.param(f"the key {KEY} is revoked", "the key [key] is revoked", id="our key"),
        pytest.param("the key dk-fedcba9876543210 is revoked", "the key [key] is revoked", id="another key"),
        pytest.param(f"bad token: Bearer {JWT}", "bad token: Bearer [key]", id="JWT"),
        pytest.param(
            f"cannot read {LINK}", "cannot read https://s3.example.com/in/a.png?[signature]", id="signed link"
        ),
        pytest.param("x" * 1995 + KEY, "x" * 1995 + "[key]", id="our key at the cut"),
        pytest.param("is task-76543210 there?", "is task-76543210 there?", id="nothing secret"),
        pytest.param("use an sk- or dk- key", "use an sk- or dk- key", id="names of the families"),
    ],
)
def test_secrets_are_cut_out(words: str, shown: str) -> None:
    """What a server says back of keys and signed links stays out of the error."""
    error = refused(400, b'{"error_message": "' + words.encode() + b'"}')

    assert error.message == shown
    for secret in (KEY[:8], JWT, "fedcba98", "X-Amz", "f00"):
        assert secret not in f"{error!s} {error!r} {error.body}"


def test_secrets_in_disguise_are_cut_out() -> None:
    """A key that the server writes with escapes is a key."""
    assert refused(400, b'{"error_message": "\\u0073k-0123456789abcdef"}').message == "[key]"


NOW = 1_700_000_000.0


@table(
    ("value", "seconds"),
    [
        pytest.param(None, None, id="no header"),
        pytest.param("0", 0.0, id="zero"),
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("2.5", 2.5, id="a fraction"),
        pytest.param("7.", 7.0, id="a point without a fraction"),
        pytest.param("2814, 2", 2814.0, id="repeated"),
        pytest.param("2,2814.5", 2814.5, id="repeated, the longer one last"),
        pytest.param("2, soon", None, id="repeated, one of them a word"),
        pytest.param(" 7 ", 7.0, id="blanks around"),
        pytest.param("Tue, 14 Nov 2023 22:13:50 GMT", 30.0, id="date"),
        pytest.param("Tue, 14 Nov 2023 22:13:50 -0000", 30.0, id="date in a zone that is not stated"),
        pytest.param("Tue, 14 Nov 2023 23:13:50 +0100", 30.0, id="date in another zone"),
        pytest.param("Tue, 14 Nov 2023 22:13:10 GMT", 0.0, id="date in the past"),
        pytest.param("9" * 400, float("inf"), id="for ever"),
        pytest.param("", None, id="empty"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="a word"),
        pytest.param("\u0667", None, id="digits of another script"),
        pytest.param("Tue, 99 Nov 2023 22:13:50 GMT", None, id="no such day"),
        pytest.param("Tue, 14 Nov 2023 22:13:50 +99999999999999", None, id="no such zone"),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """`Retry-After` is a number of seconds or a date; anything else is as if it were not there."""
    assert parse_retry_after(value, now=NOW) == seconds


def test_retry_after_of_a_refusal() -> None:
    """An error says how long the server asked to wait, from the moment it came."""
    assert refused(429, retry_after="7").retry_after == 7.0
    assert refused(503, retry_after="Tue, 14 Nov 2023 22:13:50 GMT").retry_after == 0.0
    assert refused(429).retry_after is None


@table(
    ("date", "seconds"),
    [
        pytest.param("Tue, 14 Nov 2023 22:13:20 GMT", 30.0, id="its own clock"),
        pytest.param("Tue, 14 Nov 2023 22:14:20 GMT", 0.0, id="its own clock, in the past"),
        pytest.param("yesterday", 0.0, id="no clock: ours"),
    ],
)
def test_a_date_counts_from_the_date_of_its_response(date: str, seconds: float) -> None:
    """A server whose clock is wrong is wrong twice, and the difference is right."""
    assert refused(503, retry_after="Tue, 14 Nov 2023 22:13:50 GMT", date=date).retry_after == seconds


@given(st.text(max_size=40) | st.from_regex(r"\A\w{3}, \d{1,3} \w{3} \d{1,6} \d\d:\d\d:\d\d ([+-]\d{1,12}|GMT)\Z"))
def test_any_retry_after(value: str) -> None:
    """Whatever the header holds, it is some seconds or nothing."""
    seconds = parse_retry_after(value, now=NOW)

    assert seconds is None or seconds >= 0


@given(st.integers(300, 999), st.binary(max_size=80), st.text(max_size=30))
def test_any_answer(status: int, body: bytes, location: str) -> None:
    """Whatever a refusal holds, it becomes an error of ours."""
    with suppress(APIError):
        raise refused(status, body, location=location)
