"""`client.validate()`: the check of a submission, without the submission."""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import table

from cyberun_async import AsyncClient, InvalidParameters, NotFoundError
from cyberun_async.local import LocalCyberun, LocalParameter, LocalWorkflow


async def test_valid() -> None:
    """Parameters that fit pass; the definition is read once, and nothing is uploaded or submitted."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        await client.validate("text-to-image", {"prompt": "dusk"})
        await client.validate("text-to-image", {"prompt": "dawn", "steps": 5})
        await client.validate("img2img", {"image": b"\x89PNG\r\n\x1a\n"})
        await client.validate("always-fails")
        assert {exchange.operation for exchange in server.requests} == {"workflows.get"}
        assert len(server.requests) == 3


async def test_every_problem_at_once() -> None:
    """What does not fit is named, all of it."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(InvalidParameters) as caught:
            await client.validate("text-to-image", {"promp": "dusk", "steps": 1000, "style": "loud"})
    assert len(caught.value.problems) == 4
    assert not caught.value.may_have_been_sent


async def test_a_definition_that_has_changed() -> None:
    """A definition that is remembered refuses nothing by itself."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        server.add_workflow(LocalWorkflow("mine", parameters=(LocalParameter("a"),)))
        await client.validate("mine", {"a": "x"})
        server.add_workflow(LocalWorkflow("mine", parameters=(LocalParameter("b"),)))
        await client.validate("mine", {"b": "x"})


@table(
    ("workflow", "parameters", "error"),
    [
        pytest.param("text-to-imag", {}, NotFoundError, id="no such workflow"),
        pytest.param("", {}, InvalidParameters, id="no name"),
        pytest.param("text-to-image", [("prompt", "x")], InvalidParameters, id="no mapping"),
    ],
)
async def test_mistakes(workflow: str, parameters: Any, error: type[Exception]) -> None:
    """What cannot be checked is an error, as of a submission."""
    async with LocalCyberun() as server, AsyncClient(server.api_key, base_url=server.base_url) as client:
        with pytest.raises(error):
            await client.validate(workflow, parameters)
