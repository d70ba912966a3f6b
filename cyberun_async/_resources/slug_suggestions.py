"""The nearest slugs to one that does not exist. (did you mean, typo)"""

from collections.abc import Sequence
from difflib import get_close_matches

import anyio

from cyberun_async._errors import CyberunError, NotFoundError
from cyberun_async._protocol.pages import MAX_PAGE_SIZE
from cyberun_async._protocol.paths import is_uuid
from cyberun_async._protocol.workflows import list_workflows
from cyberun_async._transport.transport import Transport

LIFETIME = 60.0
"""Seconds for which the slugs are kept: a batch of thousands may have the same typo in each item."""


def nearest_slugs(workflow: str, slugs: Sequence[str]) -> list[str]:
    """Give up to three slugs that are near to one, the nearest first; a UUID has none."""
    return [] if is_uuid(workflow) else get_close_matches(workflow, slugs, n=3)


class SlugSuggestions:
    """Names what a mistyped slug may have meant; the list of workflows is read for that, once a minute at most."""

    def __init__(self, transport: Transport) -> None:
        """Keep the transport."""
        self._transport = transport
        self._slugs: list[str] = []
        self._read_again_at = 0.0

    async def add_to(self, error: NotFoundError, workflow: str) -> None:
        """Add the nearest slugs to the error, unless the list cannot be read, or has none that is near."""
        if is_uuid(workflow):
            return
        if anyio.current_time() >= self._read_again_at:
            self._read_again_at = anyio.current_time() + LIFETIME
            try:
                page = await self._transport.send_once(list_workflows(1, MAX_PAGE_SIZE))
            except CyberunError:
                return
            self._slugs = [each.slug for each in page.items if each.slug]
        error.suggest(nearest_slugs(workflow, self._slugs))
