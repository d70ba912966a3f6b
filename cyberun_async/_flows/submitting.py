"""Submitting a task once its parameters are known to fit."""

from collections.abc import Mapping

from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.parameters import problems_with
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._protocol.workflows import ParameterDef
from cyberun_async._transport.transport import Transport

MOST_REMEMBERED = 256
"""Workflows whose definitions are kept; a service has far fewer."""


class Definitions:
    """The parameters of the workflows seen so far."""

    def __init__(self, transport: Transport) -> None:
        """Remember none yet."""
        self._transport = transport
        self._remembered: dict[str, tuple[ParameterDef, ...]] = {}

    async def check(self, workflow: str, parameters: Mapping[str, object]) -> None:
        """Check parameters against a workflow's definition; only a fresh one may refuse them.

        Raises:
            InvalidParameters: They do not fit.
            APIError: The definition cannot be read.

        """
        remembered = self._remembered.get(workflow)
        if remembered is not None and not problems_with(parameters, remembered):
            return
        problems = problems_with(parameters, await self._read(workflow))
        if problems:
            raise InvalidParameters(problems)

    async def _read(self, workflow: str) -> tuple[ParameterDef, ...]:
        definition = await self._transport.send(endpoints.get_workflow(workflow))
        if len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[workflow] = definition.parameters
        return definition.parameters


async def prepare(
    definitions: Definitions,
    workflow: str,
    parameters: Mapping[str, object] | None,
    *,
    validate: bool,
    dispatch: Dispatch,
) -> Call[Submitted]:
    """Give the call that submits a task, once its parameters are known to fit; see `AsyncClient.submit`."""
    values = dict(parameters or {})
    call = endpoints.run_workflow(workflow, values, dispatch)
    if validate:
        await definitions.check(workflow, values)
    return call
