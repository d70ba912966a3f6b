"""A mistyped slug is answered with the nearest ones."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from support.tables import table

from cyberun_async import NotFoundError

if TYPE_CHECKING:
    from cyberun_async import AsyncClient
    from cyberun_async.local import LocalCyberun

UNKNOWN = str(uuid.UUID(int=7))


@table(
    ("workflow", "suggestions"),
    [
        ("text-to-imag", ("text-to-image",)),
        ("text-to-image@99", ("text-to-image",)),
        ("img2mg", ("img2img",)),
        ("nothing-like-it-at-all", ()),
        (UNKNOWN, ()),
    ],
)
async def test_the_nearest_slugs(
    cyberun: LocalCyberun, cyberun_client: AsyncClient, workflow: str, suggestions: tuple[str, ...]
) -> None:
    """The error has them, and its message names them; a UUID has none."""
    with pytest.raises(NotFoundError) as caught:
        await cyberun_client.submit(workflow, {})

    assert caught.value.suggestions[:1] == suggestions
    assert (
        (f"did you mean '{suggestions[0]}'" in str(caught.value)) if suggestions else "check the" in str(caught.value)
    )
    assert not caught.value.may_have_been_sent


async def test_a_list_that_cannot_be_read(cyberun: LocalCyberun, cyberun_client: AsyncClient) -> None:
    """Then it is the 404 alone, without a retry."""
    cyberun.faults.status(503, on="workflows.list", times=None)

    with pytest.raises(NotFoundError, match="check the id or name"):
        await cyberun_client.submit("text-to-imag", {})

    assert [request.operation for request in cyberun.requests].count("workflows.list") == 1


async def test_the_same_typo_a_hundred_times(cyberun: LocalCyberun, cyberun_client: AsyncClient) -> None:
    """The list is read once for all of them."""
    outcomes = await cyberun_client.map("text-to-imag", [{}] * 100).gather()

    assert {getattr(outcome.error, "suggestions", None) for outcome in outcomes[1:]} <= {("text-to-image",), ()}
    assert [request.operation for request in cyberun.requests].count("workflows.list") == 1
