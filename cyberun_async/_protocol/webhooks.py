"""Where the team's deliveries go; the deliveries themselves are in `cyberun_async.webhooks`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import NoneType
from urllib.parse import urlsplit

import attrs

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.base_url import is_loopback
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import extra_field, redact_repr, wire
from cyberun_async._protocol.paths import segment
from cyberun_async._protocol.record import Record


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Webhook(Record):
    """An address that receives a delivery when a task has ended.

    Every field but `id` is `None` or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/webhook/get-webhook-details

    Attributes:
        id: Its UUID.
        display_name: Its name for people.
        url: Where deliveries are sent.
        secret: What they are signed with (`whsec_…`); never shown.
        events: The events that are delivered: `task.completed`, `task.failed`.
        status: `active`, or another value.
        created_at: When it was made.
        last_delivered_at: When it last received a delivery.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str
    display_name: str | None = None
    url: str | None = wire("webhook_url", default=None)
    secret: str | None = wire("webhook_secret", default=None, hidden="secret")
    events: tuple[str, ...] = wire("webhook_events", default=())
    status: str | None = wire("webhook_status", default=None)
    created_at: datetime | None = None
    last_delivered_at: datetime | None = None
    extra: Mapping[str, object] = extra_field()


@attrs.frozen
class RotatedSecret:
    """The response to a rotation; the secret is never shown."""

    secret: str = wire("webhook_secret", hidden="secret")
    extra: Mapping[str, object] = extra_field()


def _webhook_fields(
    *, display_name: str | None, url: str | None, events: Sequence[str] | None, status: str | None = None
) -> dict[str, object]:
    """Check what is given of a webhook, and write it in the wire's words.

    Raises:
        InvalidParameters: Something given cannot be.

    """
    problems = []
    if display_name is not None and not (isinstance(display_name, str) and 1 <= len(display_name) <= 255):
        problems.append("display_name must have 1 to 255 characters")
    if url is not None and not (isinstance(url, str) and _may_be_delivered_to(url) and len(url) <= 2048):
        problems.append("url must begin with https:// and have at most 2048 characters")
    if events is not None and (not isinstance(events, Collection) or isinstance(events, (str, bytes)) or not events):
        problems.append("events must be a list with at least one of task.completed and task.failed")
    if problems:
        raise InvalidParameters(problems)
    fields = {
        "display_name": display_name,
        "webhook_url": url,
        "webhook_events": None if events is None else list(events),
        "webhook_status": status,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _may_be_delivered_to(url: str) -> bool:
    """Whether a webhook may have the address: https, or a receiver on this machine, which a local Cyberun can reach."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return url.startswith("https://") or (url.startswith("http://") and is_loopback(host))


def _webhook_path(webhook_id: str) -> str:
    return f"/webhooks/{segment(webhook_id, 'webhook_id')}"


def create_webhook(display_name: str, url: str, events: Sequence[str]) -> Call[Webhook]:
    """Make a webhook."""
    body = _webhook_fields(display_name=display_name, url=url, events=events)
    return Call("POST", "/webhooks", Webhook, body=body, repeatable=False)


def get_webhook(webhook_id: str) -> Call[Webhook]:
    """Ask for a webhook."""
    return Call("GET", _webhook_path(webhook_id), Webhook)


def update_webhook(
    webhook_id: str, *, display_name: str | None, url: str | None, events: Sequence[str] | None, status: str | None
) -> Call[None]:
    """Change a webhook."""
    body = _webhook_fields(display_name=display_name, url=url, events=events, status=status)
    return Call("PUT", _webhook_path(webhook_id), NoneType, body=body)


def rotate_webhook_secret(webhook_id: str) -> Call[RotatedSecret]:
    """Give a webhook a new secret."""
    return Call("POST", f"{_webhook_path(webhook_id)}/rotate-secret", RotatedSecret, repeatable=False)
