"""Where deliveries go."""

from collections.abc import Sequence

from cyberun_async._protocol.webhooks import (
    Webhook,
    create_webhook,
    get_webhook,
    rotate_webhook_secret,
    update_webhook,
)
from cyberun_async._resources.group import Group


class Webhooks(Group):
    """The team's webhooks, as `client.webhooks`.

    The service lets an admin's `dk-` key or JWT manage them, where the plan includes them; an `sk-` key may not.
    Deliveries are verified by `cyberun_async.webhooks.verify`.
    """

    async def create(self, display_name: str, url: str, events: Sequence[str]) -> Webhook:
        """Have an address notified when tasks end; its secret is included where the server shows it, else call `get()`.

        Not retried unless it cannot have arrived, or the server responded with 429.

        Args:
            display_name: A name for people, 1 to 255 characters.
            url: Where to deliver to; https, or http to this machine, which only a local Cyberun can reach; at most 2048
                characters.
            events: `task.completed`, `task.failed`, or both.

        Raises:
            InvalidParameters: One of them cannot be.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/webhook/create-a-webhook-for-a-team

        """
        return await self._transport.send(create_webhook(display_name, url, events))

    async def get(self, webhook_id: str) -> Webhook:
        """Read a webhook, with its secret.

        Raises:
            NotFoundError: There is no such webhook.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/webhook/get-webhook-details

        """
        return await self._transport.send(get_webhook(webhook_id))

    async def update(
        self,
        webhook_id: str,
        *,
        display_name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        status: str | None = None,
    ) -> None:
        """Change what is given of a webhook, and leave the rest.

        Raises:
            InvalidParameters: One of them cannot be.
            NotFoundError: There is no such webhook.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/webhook/update-a-webhook

        """
        await self._transport.send(
            update_webhook(webhook_id, display_name=display_name, url=url, events=events, status=status)
        )

    async def rotate_secret(self, webhook_id: str) -> str:
        """Give a webhook a new secret; the old one is dead at once.

        Not retried unless it cannot have arrived, or the server responded with 429: each rotation makes another secret.

        Raises:
            NotFoundError: There is no such webhook.
            APIError: The server returned an error.
            TransportError: There was no response.

        Source: https://docs.cyberun.cloud/api-reference/webhook/rotate-webhook-signing-secret

        """
        return (await self._transport.send(rotate_webhook_secret(webhook_id))).secret
