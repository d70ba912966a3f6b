"""Webhooks: what Cyberun signed is read, and nothing else is."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timezone
from email.message import Message
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.secrecy import variables_of
from support.tables import table

from cyberun_async import webhooks
from cyberun_async.webhooks import SIGNATURE_HEADER, WebhookError, WebhookEvent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
COMPLETED = {
    "event_type": "task.completed",
    "task_id": "019abc12-9012-7890-abcd-ef1234567896",
    "task_status": "completed",
    "task_output": {"storage_key": "tasks/019c65a0/output_00001_.png", "image_count": 1},
    "task_error": "",
    "timestamp": "2025-02-10T14:01:30Z",
}
BODY = json.dumps(COMPLETED).encode()
SIGNATURE = webhooks.sign(BODY, SECRET)
EVENT = WebhookEvent(
    event_type="task.completed",
    task_id="019abc12-9012-7890-abcd-ef1234567896",
    status="completed",
    output={"storage_key": "tasks/019c65a0/output_00001_.png", "image_count": 1},
    timestamp=datetime(2025, 2, 10, 14, 1, 30, tzinfo=timezone.utc),
)


class Pairs:
    """Headers that keep a repeated one twice, as frameworks have them."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.pairs = pairs

    def items(self) -> tuple[tuple[str, str], ...]:
        return self.pairs


def message(*values: str) -> Message:
    """Give the headers that `http.server` hands to a handler."""
    headers = Message()
    for value in values:
        headers[SIGNATURE_HEADER] = value
    return headers


def verified(payload: object) -> WebhookEvent:
    """Sign a payload and read it."""
    body = json.dumps(payload).encode()
    return webhooks.verify(body, webhooks.sign(body, SECRET), SECRET)


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in COMPLETED.items() if key != name}


# Who sent it


def test_the_signature_is_as_documented() -> None:
    """The header is `sha256=` and the hexadecimal HMAC-SHA256 of the body under the secret."""
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()

    assert f"sha256={digest}" == webhooks.sign(BODY, SECRET)


def test_a_known_signature() -> None:
    """A vector computed by another tool (`openssl dgst -sha256 -hmac`) fits."""
    signature = "sha256=49213ebb1bcdf240e2570992f9050f3743ec2fe9ede76ef2a7bc9b41e2971f3f"

    assert signature == webhooks.sign(b'{"event_type":"task.completed"}', "whsec_test")


@table(
    "signature",
    [
        pytest.param(SIGNATURE, id="value"),
        pytest.param(SIGNATURE[:7] + SIGNATURE[7:].upper(), id="upper-case digits"),
        pytest.param({SIGNATURE_HEADER: SIGNATURE}, id="headers"),
        pytest.param({"x-webhook-signature-256": SIGNATURE, "Host": "a"}, id="lower-case headers"),
        pytest.param(Pairs(("Via", "a"), ("Via", "b"), (SIGNATURE_HEADER, SIGNATURE)), id="pairs"),
        pytest.param(message(SIGNATURE), id="http.server"),
    ],
)
def test_a_good_delivery(signature: Any) -> None:
    """A body with its signature is read, however the framework shows headers."""
    assert webhooks.verify(BODY, signature, SECRET) == EVENT


@table(
    ("signature", "problem"),
    [
        pytest.param(None, "missing", id="none"),
        pytest.param({}, "missing", id="no headers"),
        pytest.param({"X-Webhook-Signature": SIGNATURE}, "missing", id="another header"),
        pytest.param(SIGNATURE.encode(), "missing", id="bytes"),
        pytest.param(
            {SIGNATURE_HEADER: SIGNATURE, SIGNATURE_HEADER.lower(): SIGNATURE},
            "repeated",
            id="repeated in another case",
        ),
        pytest.param(message(SIGNATURE, SIGNATURE), "repeated", id="repeated"),
        pytest.param(f"{SIGNATURE}, {SIGNATURE}", "is not 'sha256='", id="repeated and joined"),
        pytest.param({SIGNATURE_HEADER: [SIGNATURE]}, "is not 'sha256='", id="list"),
        pytest.param("", "is not 'sha256='", id="empty"),
        pytest.param("sha256=", "is not 'sha256='", id="no digits"),
        pytest.param(SIGNATURE[7:], "is not 'sha256='", id="no algorithm"),
        pytest.param("sha1=" + "0" * 40, "is not 'sha256='", id="weaker algorithm"),
        pytest.param(SIGNATURE.replace("256", "512"), "is not 'sha256='", id="another algorithm"),
        pytest.param(SIGNATURE[:-1], "is not 'sha256='", id="too short"),
        pytest.param(SIGNATURE + "0", "is not 'sha256='", id="too long"),
        pytest.param(SIGNATURE + "\n", "is not 'sha256='", id="line break"),
        pytest.param("sha256=" + "g" * 64, "is not 'sha256='", id="no hexadecimal digits"),
        pytest.param("sha256=" + "\u0661" * 64, "is not 'sha256='", id="digits of another script"),
        pytest.param("sha256=" + "0" * 64, "does not fit", id="forged"),
        pytest.param(webhooks.sign(BODY, OTHER_SECRET), "does not fit", id="another secret"),
        pytest.param(webhooks.sign(BODY + b" ", SECRET), "does not fit", id="another body"),
    ],
)
def test_a_bad_signature(signature: Any, problem: str) -> None:
    """A header that is not one good signature of this body is refused."""
    with pytest.raises(WebhookError, match=problem):
        webhooks.verify(BODY, signature, SECRET)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_every_byte_counts(place: int, change: int) -> None:
    """A body that differs in one byte is refused."""
    forged = bytearray(BODY)
    forged[place] ^= change

    with pytest.raises(WebhookError, match="does not fit"):
        webhooks.verify(bytes(forged), SIGNATURE, SECRET)


@given(st.one_of(st.text(), st.dictionaries(st.text(), st.text())), st.binary())
def test_noise_is_refused(signature: Any, body: bytes) -> None:
    """Whatever arrives, the answer is a `WebhookError` and no other."""
    with pytest.raises(WebhookError):
        webhooks.verify(body, signature, SECRET)


# The secret


@table(
    "signed_with",
    [pytest.param(SECRET, id="whole"), pytest.param(SECRET.removeprefix("whsec_"), id="bare")],
)
@table("kept", [pytest.param(SECRET, id="kept whole"), pytest.param([SECRET], id="kept in a list")])
def test_the_prefix_may_or_may_not_belong_to_the_key(signed_with: str, kept: Any) -> None:
    """Both readings of `whsec_` are accepted, since the documentation names neither."""
    assert webhooks.verify(BODY, webhooks.sign(BODY, signed_with), kept) == EVENT


@table("secret", [SECRET, OTHER_SECRET], ids=["new", "old"])
def test_rotation(secret: str) -> None:
    """While a secret is rotated, deliveries signed with either are read."""
    event = webhooks.verify(BODY, webhooks.sign(BODY, secret), [SECRET, OTHER_SECRET])

    assert event == EVENT


@table(
    "secrets",
    [
        pytest.param("", id="empty"),
        pytest.param(" \n", id="blank"),
        pytest.param("whsec_", id="only the prefix"),
        pytest.param([], id="none"),
        pytest.param(None, id="unset"),
        pytest.param([SECRET, ""], id="one empty"),
        pytest.param([SECRET, None], id="one unset"),
        pytest.param(SECRET.encode(), id="bytes"),
    ],
)
@table("key", [b"", SECRET.encode()], ids=["empty key", "good key"])
def test_no_usable_secret(secrets: Any, key: bytes) -> None:
    """Without a secret nothing is trusted, least of all what is signed with an empty key."""
    signature = "sha256=" + hmac.new(key, BODY, hashlib.sha256).hexdigest()

    with pytest.raises(WebhookError, match="secret"):
        webhooks.verify(BODY, signature, secrets)


@table("secret", [SECRET, "whsec_\udcffsecret"], ids=["text", "no UTF-8"])
def test_errors_show_no_secret(secret: str) -> None:
    """Neither an error nor what caused it holds the secret or the right signature."""
    right = webhooks.sign(BODY, secret)

    with pytest.raises(WebhookError) as caught:
        webhooks.verify(BODY, "sha256=" + "0" * 64, secret)

    shown = f"{caught.value} {caught.value!r} {caught.value.__dict__} {caught.value.__cause__!r}"
    assert secret.removeprefix("whsec_") not in shown
    assert right.removeprefix("sha256=") not in shown


# The body


@table("body", [BODY.decode(), bytearray(BODY), COMPLETED, None], ids=repr)
def test_only_bytes_are_a_body(body: Any) -> None:
    """What was decoded or parsed already cannot be checked, and the error says so."""
    with pytest.raises(WebhookError, match=f"but {type(body).__name__}: pass it raw"):
        webhooks.verify(body, SIGNATURE, SECRET)
    with pytest.raises(WebhookError, match=f"but {type(body).__name__}: pass it raw"):
        webhooks.sign(body, SECRET)


def test_a_body_may_not_be_larger_than_the_limit() -> None:
    """One byte over the limit is refused, also where it is signed."""
    assert webhooks.verify(BODY, SIGNATURE, SECRET, max_bytes=len(BODY)) == EVENT
    with pytest.raises(WebhookError, match="larger than"):
        webhooks.verify(BODY, SIGNATURE, SECRET, max_bytes=len(BODY) - 1)


@table(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(json.dumps([COMPLETED]).encode(), id="list"),
        pytest.param(b"null", id="null"),
        *(pytest.param(json.dumps(without(name)).encode(), id=f"no {name}") for name in ("task_id",)),
        pytest.param(json.dumps(COMPLETED | {"task_id": ""}).encode(), id="empty task_id"),
        pytest.param(
            json.dumps(COMPLETED | {"event_type": None, "task_status": 5}).encode(), id="neither event type nor status"
        ),
    ],
)
def test_signed_but_not_the_documented_payload(body: bytes) -> None:
    """A body that is signed and yet not what is documented is an error of ours, not of `json`."""
    with pytest.raises(WebhookError, match="not the documented payload"):
        webhooks.verify(body, webhooks.sign(body, SECRET), SECRET)


@table(
    ("changes", "fields"),
    [
        pytest.param({"event_type": None}, {}, id="no event type"),
        pytest.param({"event_type": [1]}, {}, id="event type that is no text"),
        pytest.param({"task_status": None}, {}, id="no status"),
        pytest.param({"task_status": ["completed"]}, {}, id="status that is no text"),
        pytest.param({"task_status": "COMPLETED"}, {}, id="status in another case"),
        pytest.param({"task_status": "succeeded"}, {}, id="status of another service"),
        pytest.param({"task_id": 7}, {"task_id": "7"}, id="number for an id"),
        pytest.param({"task_id": None, "id": "x"}, {"task_id": "x"}, id="id by another name"),
        pytest.param({"task_output": "image.png"}, {"output": None}, id="output that is text"),
        pytest.param({"task_output": ["image.png"]}, {"output": None}, id="output that is a list"),
        pytest.param({"task_error": {"message": "no memory"}}, {"error": "no memory"}, id="error that is an object"),
        pytest.param({"task_error": ["no", "memory"]}, {"error": "no; memory"}, id="error that is a list"),
        pytest.param({"task_error": 5.5}, {"error": "5.5"}, id="error that is a number"),
        pytest.param({"timestamp": "yesterday"}, {"timestamp": None}, id="no time"),
        pytest.param({"timestamp": ""}, {"timestamp": None}, id="empty time"),
        pytest.param({"timestamp": {}}, {"timestamp": None}, id="time that is an object"),
    ],
)
def test_no_delivery_is_refused_for_a_cosmetic_field(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """A delivery that is signed is read as far as it can be: it would be refused each time it comes."""
    event = verified(COMPLETED | changes)

    assert event == attrs.evolve(EVENT, **fields)
    for name, value in changes.items():
        assert event.extra.get(name, value) == value


# The event


def test_a_failed_task() -> None:
    """A failure has its reason and no output."""
    event = verified(
        COMPLETED
        | {
            "event_type": "task.failed",
            "task_status": "failed",
            "task_output": None,
            "task_error": "out of memory",
        }
    )

    assert event.is_known
    assert event.status == "failed"
    assert event.status.is_terminal
    assert event.output is None
    assert event.error == "out of memory"


@table(
    ("wire", "field", "value"),
    [
        ("task_output", "output", None),
        ("task_error", "error", ""),
        ("timestamp", "timestamp", None),
    ],
)
def test_missing_and_null_are_the_same(wire: str, field: str, value: Any) -> None:
    """What a delivery may leave out is the same left out and null."""
    expected = attrs.evolve(EVENT, **{field: value})

    assert expected == verified(without(wire)) == verified(COMPLETED | {wire: None})


def test_new_words_and_fields() -> None:
    """Event types and status words that are not known yet survive; unknown fields are ignored."""
    event = verified(COMPLETED | {"event_type": "task.paused", "task_status": "paused", "workflow_id": "x"})

    assert not event.is_known
    assert event.event_type == "task.paused"
    assert event.status == "paused"
    assert not event.status.is_terminal


def test_repeated_deliveries_have_one_dedupe_key() -> None:
    """A delivery that comes again, with another time, is known by its key; another event is not."""
    again = verified(COMPLETED | {"timestamp": "2025-02-10T14:03:30Z"})
    other = verified(COMPLETED | {"event_type": "task.failed"})

    assert (EVENT.task_id, "task.completed") == EVENT.dedupe_key == again.dedupe_key
    assert other.dedupe_key != EVENT.dedupe_key


def test_events_are_frozen() -> None:
    """An event is a value: nobody changes it on its way."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EVENT.task_id = "another"  # type: ignore[misc]


# For users' tests


@table(
    "event",
    [
        pytest.param(EVENT, id="completed"),
        pytest.param(
            WebhookEvent(event_type="task.failed", task_id="é", status="failed", error="⚡"),
            id="failed",
        ),
    ],
)
def test_make_delivery(event: WebhookEvent) -> None:
    """What `make_delivery` makes is what `verify` reads."""
    body, headers = webhooks.make_delivery(event, SECRET)

    assert event == webhooks.verify(body, headers, SECRET)
    assert headers["Content-Type"] == "application/json"


def test_make_delivery_speaks_as_the_wire_does() -> None:
    """A made delivery has the documented fields under their documented names."""
    body, _ = webhooks.make_delivery(EVENT, SECRET)

    assert json.loads(body) == COMPLETED


def test_nothing_is_signed_with_an_empty_secret() -> None:
    """A test that forgot its secret is told so."""
    with pytest.raises(WebhookError, match="secret is empty"):
        webhooks.sign(BODY, "")


# What is of another kind


@table(
    "headers",
    [
        pytest.param([(SIGNATURE_HEADER.lower().encode(), SIGNATURE.encode())], id="bytes, as ASGI has them"),
        pytest.param([(7, "x"), (None, None), (SIGNATURE_HEADER, SIGNATURE)], id="beside names that are no text"),
        pytest.param([("x",), 7, ("a", "b", "c"), (SIGNATURE_HEADER, SIGNATURE)], id="beside what is no pair"),
    ],
)
def test_headers_of_other_kinds(headers: list[Any]) -> None:
    """A name that is no text is none that is looked for; one in bytes is what the server had."""

    class Raw:
        def items(self) -> list[Any]:
            return headers

    assert webhooks.verify(BODY, Raw(), SECRET) == EVENT


@table(
    ("call", "words"),
    [
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, f"{SECRET}\n"), "white space around it", id="line break"),
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, [SECRET, f" {SECRET}"]), "white space", id="blank"),
        pytest.param(lambda: webhooks.sign(BODY, f"{SECRET}\r\n"), "white space", id="signing"),
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, 7), "no secret", id="a number for a secret"),  # type: ignore[arg-type]
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, [7]), "no text", id="a number among secrets"),  # type: ignore[list-item]
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, bytearray(b"x")), "no text", id="bytes for a secret"),  # type: ignore[arg-type]
        pytest.param(lambda: webhooks.verify(BODY, 7, SECRET), "missing", id="a number for a signature"),  # type: ignore[arg-type]
        pytest.param(lambda: webhooks.verify(BODY, type("H", (), {"items": 7})(), SECRET), "missing", id="odd headers"),
        pytest.param(lambda: webhooks.verify(BODY, SIGNATURE, SECRET, max_bytes="1"), "max_bytes must", id="limit"),  # type: ignore[arg-type]
        pytest.param(lambda: webhooks.make_delivery(COMPLETED, SECRET), "WebhookEvent, not of dict", id="no event"),  # type: ignore[arg-type]
        pytest.param(
            lambda: webhooks.make_delivery(attrs.evolve(EVENT, output={"a": {1}}), SECRET), "no JSON form", id="a set"
        ),
    ],
)
def test_arguments_of_other_kinds(call: Callable[[], object], words: str) -> None:
    """Each says what was expected, and neither it nor a variable of our frames shows the secret."""
    with pytest.raises(WebhookError, match=words) as caught:
        call()
    assert SECRET not in str(caught.value)
    assert SECRET not in "\n".join(variables_of(caught.value))
