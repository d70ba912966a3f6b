"""Check that a webhook delivery comes from Cyberun, and read it; nothing here performs I/O.

    from cyberun_async import webhooks

    event = webhooks.verify(await request.body(), request.headers, secret)
    if event.dedupe_key not in seen: ...

Source: https://docs.cyberun.cloud/cloud/guides/webhooks
"""

import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import attrs

from cyberun_async._errors import DecodeError, WebhookError
from cyberun_async._protocol.codec import structure
from cyberun_async._protocol.fields import extra_field, on_wire, redact_repr, wire
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.record import Record
from cyberun_async._protocol.secret import Secret
from cyberun_async._protocol.status import Evidence, TaskStatus, status_from
from cyberun_async._protocol.tasks import Extras, Said, read_output, read_reason
from cyberun_async._protocol.timestamps import format_timestamp

__all__ = [
    "DEFAULT_MAX_BYTES",
    "SIGNATURE_HEADER",
    "Headers",
    "WebhookError",
    "WebhookEvent",
    "make_delivery",
    "sign",
    "verify",
]

SIGNATURE_HEADER = "X-Webhook-Signature-256"
"""The header that carries `sha256=` and the signature in hexadecimal digits."""

DEFAULT_MAX_BYTES = 1024 * 1024
"""The largest body that `verify` accepts by default, in bytes."""

_KNOWN_EVENTS = frozenset({"task.completed", "task.failed"})
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")
_EVENT_PREFIX = "task."
_ENVELOPES = ("task", "data", "payload")
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the public start of every secret


def _text(error: str | None) -> str:
    return error or ""


class Headers(Protocol):
    """The headers of a request: a `dict`, or what your framework has."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Give name and value of each header; a repeated one twice, where that is known."""
        ...


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class WebhookEvent(Record):
    """A delivery: a task has ended.

    The wire says `task_status`, `task_output` and `task_error`. There are no download URLs in a
    delivery: `client.tasks.result(event.task_id)` has them.

    All that a delivery needs is the task and how it ended, as an event type or a status; each follows from the other.

    Attributes:
        event_type: `task.completed`, `task.failed`, or a value that came into use later.
        task_id: The task.
        status: How the task ended.
        output: What the task put out, or `None`.
        error: Why the task failed; `""` where it did not.
        timestamp: The time that the delivery states, or `None`. Whether it is the time of the
            event or of the sending is not documented.
        extra: What else the delivery says, and what of it did not fit, as it came.

    """

    event_type: str
    task_id: str = attrs.field(metadata=on_wire(aliases=("id",)))
    status: TaskStatus = attrs.field(converter=TaskStatus, metadata=on_wire("task_status", aliases=("status",)))
    output: dict[str, Any] | None = wire("task_output", aliases=("output",), read=read_output, default=None)
    error: str = wire(
        "task_error", aliases=("error", "error_message", "message"), read=read_reason, default="", converter=_text
    )
    timestamp: datetime | None = None
    extra: Mapping[str, object] = extra_field()

    @staticmethod
    def _settle(said: Said, extra: Extras, raw: Mapping[str, object]) -> Extras:
        """Find the status by the event type, or that by the status, where one of them is missing or not known."""
        status, event_type = said.get("status"), said.get("event_type")
        if isinstance(event_type, str) and not (isinstance(status, TaskStatus) and status.is_known):
            event = TaskStatus(event_type.strip().lower().removeprefix(_EVENT_PREFIX))
            evidence = Evidence(event=event if event.is_terminal else None)
            said["status"] = status_from(None if status is None else str(status), evidence)
            if status is not None and said["status"] != status:
                return {**(extra or {}), "task_status": raw.get("task_status") or status}
        elif not event_type and status is not None:
            said["event_type"] = f"{_EVENT_PREFIX}{status}"
        return extra

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the event type."""
        return self.event_type in _KNOWN_EVENTS

    @property
    def dedupe_key(self) -> tuple[str, str]:
        """What two deliveries of one event have in common: task id and event type.

        A delivery without a 2xx in time is retried, up to four times in all, and
        carries no id of its own.
        """
        return self.task_id, self.event_type


def verify(
    body: bytes,
    signature: str | Headers | None,
    secrets: str | Sequence[str],
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> WebhookEvent:
    """Check a delivery's signature and give the event in it.

    A good signature proves who wrote the body, not when it was sent: neither a time of sending nor
    an id of the delivery is signed, so no replay window can be kept. Remember `event.dedupe_key`.

    Args:
        body: The raw body, exactly as received. JSON that was parsed and written again differs.
        signature: All headers of the request (names in any case), or the value of
            `X-Webhook-Signature-256`. Only with all of them can a repeated one be detected.
        secrets: The webhook's secret, or several, of which one has to fit: the old one dies when
            it is rotated, but deliveries that it signed may still be on their way.
        max_bytes: A larger body is rejected unread.

    Raises:
        WebhookError: The delivery is not to be trusted, or cannot be checked: a header that is
            missing, repeated or malformed, another algorithm, a signature that does not fit, no
            secret or an empty one, a body that is too large, is no `bytes`, or is signed but not
            what is documented.

    Source: https://docs.cyberun.cloud/cloud/guides/webhooks

    """
    listed = _listed(secrets)
    # The variables of frames may be shown: from here on, a secret is in none of them.
    del secrets
    keys = Secret(tuple(key for secret in listed for key in _keys(secret)))
    given = _given_digest(signature)
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
        raise WebhookError(f"max_bytes must be a whole number of bytes, not {type(max_bytes).__name__}")
    if len(_raw(body)) > max_bytes:
        raise _refuse(f"the body is larger than {max_bytes} bytes (max_bytes)")
    if not _is_signed(body, given, keys):
        raise _refuse("the signature does not fit the raw body and the secret")
    return _read(body)


def _is_signed(body: bytes, given: bytes, keys: Secret[tuple[bytes, ...]]) -> bool:
    # All keys are tried, so that the time this takes does not reveal which of them fits.
    return True in [hmac.compare_digest(given, _digest(body, key)) for key in keys.reveal()]


def sign(body: bytes, secret: str) -> str:
    """Give the value of `X-Webhook-Signature-256` for a body, for tests of your own receiver.

    Raises:
        WebhookError: The secret is empty or surrounded by white space, or the body is no `bytes`.

    Source: https://docs.cyberun.cloud/cloud/guides/webhooks

    """
    hidden = Secret[object](secret)
    del secret
    return _signature(_raw(body), hidden)


def make_delivery(event: WebhookEvent, secret: str) -> tuple[bytes, dict[str, str]]:
    """Give body and headers of a signed delivery, for tests of your own receiver.

    Raises:
        WebhookError: The secret is empty or surrounded by white space, or the event has no JSON form.

    Source: https://docs.cyberun.cloud/cloud/guides/webhooks

    """
    hidden = Secret[object](secret)
    del secret
    body = _written(event)
    return body, {"Content-Type": "application/json", SIGNATURE_HEADER: _signature(body, hidden)}


def _signature(body: bytes, secret: Secret[object]) -> str:
    return f"sha256={_digest(body, _keys(secret)[0]).hex()}"


def _written(event: WebhookEvent) -> bytes:
    if not isinstance(event, WebhookEvent):
        raise WebhookError(f"a delivery is made of a WebhookEvent, not of {type(event).__name__}")
    payload = {
        "event_type": event.event_type,
        "task_id": event.task_id,
        "task_status": event.status,
        "task_output": event.output,
        "task_error": event.error,
        "timestamp": event.timestamp and format_timestamp(event.timestamp),
    }
    try:
        return json.dumps(payload).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WebhookError(f"the event has no JSON form ({error})") from None


def _refuse(reason: str) -> WebhookError:
    return WebhookError(f"{reason}: do not trust the delivery, and respond with 400")


def _listed(secrets: object) -> tuple[Secret[object], ...]:
    listed = (secrets,) if isinstance(secrets, (str, bytes, bytearray)) else secrets
    del secrets
    hidden = tuple(map(Secret, listed)) if isinstance(listed, Iterable) else ()
    del listed
    if not hidden:
        raise WebhookError("there is no secret to check the signature with: pass the webhook's")
    return hidden


def _keys(secret: Secret[object]) -> tuple[bytes, bytes]:
    """Give both readings of a secret: the full text, as documented, and without its prefix.

    Whether `whsec_` belongs to the key is the one thing the documentation leaves open. To forge
    either takes the same secret, so accepting both gives nothing away.
    """
    problem = _problem_of(secret)
    if problem is not None:
        raise WebhookError(problem)
    # "surrogatepass" because the error of a strict encoder would show the secret.
    full = str(secret.reveal()).encode(errors="surrogatepass")
    return full, full.removeprefix(_SECRET_PREFIX.encode())


def _problem_of(secret: Secret[object]) -> str | None:
    text = secret.reveal()
    # A bare prefix would make one of the keys empty, and an empty key is everybody's.
    if not isinstance(text, str) or not text.removeprefix(_SECRET_PREFIX).strip():
        return "a secret is empty, or is no text: pass the webhook's as it was shown"
    if text != text.strip():
        return "a secret has white space around it, so that nothing it signs would fit: read it without its line break"
    return None


def _digest(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _given_digest(signature: str | Headers | None) -> bytes:
    value = signature if isinstance(signature, str) else _header(signature)
    match = _SIGNATURE.fullmatch(value)
    if match is None:
        raise _refuse(f"{SIGNATURE_HEADER} is not 'sha256=' and 64 hexadecimal digits")
    return bytes.fromhex(match[1])


def _header(headers: object) -> str:
    wanted = SIGNATURE_HEADER.lower()
    # `headers.get(...)` gives None; nothing else without items is a set of headers either.
    items = getattr(headers, "items", None)
    pairs = [tuple(pair) for pair in (items() if callable(items) else ()) if isinstance(pair, Iterable)]
    values = [pair[1] for pair in pairs if len(pair) == 2 and _decoded(pair[0]).lower() == wanted]
    if len(values) != 1:
        raise _refuse(f"{SIGNATURE_HEADER} is {'repeated' if values else 'missing'}")
    return _decoded(values[0])


def _decoded(value: object) -> str:
    """Give text as it is, and what a server may have for it: the bytes that came; all else is no header's."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _raw(body: object) -> bytes:
    if not isinstance(body, bytes):
        raise WebhookError(f"the body is no bytes, but {type(body).__name__}: pass it raw, as it was received")
    return body


def _read(body: bytes) -> WebhookEvent:
    try:
        return structure(_payload_of(parse_json(body)), WebhookEvent)
    except DecodeError as error:
        raise _refuse("the signed body is not the documented payload") from error


def _payload_of(delivery: object) -> object:
    """Give what a delivery says, also where what it says of the task stands in an object of its own."""
    if not isinstance(delivery, dict) or delivery.get("task_id"):
        return delivery
    inner = next((delivery[name] for name in _ENVELOPES if isinstance(delivery.get(name), dict)), None)
    return delivery if inner is None else {**delivery, "id": None, **inner}
