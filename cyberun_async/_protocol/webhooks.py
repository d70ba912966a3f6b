"""Where the team's deliveries go; the deliveries themselves are in `cyberun_async.webhooks`."""

from datetime import datetime

import attrs

from cyberun_async._protocol.codec import wire


@attrs.frozen(kw_only=True)
class Webhook:
    """An address that is told when tasks end.

    Every field but `id` is `None` or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/webhook/get-webhook-details

    Attributes:
        id: Its UUID.
        display_name: Its name for people.
        url: Where deliveries are sent.
        secret: What they are signed with (`whsec_…`); never shown.
        events: What it is told of: `task.completed`, `task.failed`.
        status: `active`, or another word.
        created_at: When it was made.
        last_delivered_at: When it was last told something.

    """

    id: str
    display_name: str | None = None
    url: str | None = wire("webhook_url", default=None)
    secret: str | None = wire("webhook_secret", default=None, repr=False)
    events: tuple[str, ...] = wire("webhook_events", default=())
    status: str | None = wire("webhook_status", default=None)
    created_at: datetime | None = None
    last_delivered_at: datetime | None = None


@attrs.frozen
class RotatedSecret:
    """The server's answer to a rotation; the secret is never shown."""

    secret: str = wire("webhook_secret", repr=False)
