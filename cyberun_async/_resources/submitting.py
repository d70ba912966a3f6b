"""Before a submission: checking its parameters, uploading its files. (validate)"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cyberun_async._errors import CyberunError, InvalidParameters, NotFoundError
from cyberun_async._protocol import endpoints
from cyberun_async._protocol.call import Call
from cyberun_async._protocol.endpoints import Dispatch
from cyberun_async._protocol.files import is_file_like
from cyberun_async._protocol.tasks import Submitted
from cyberun_async._protocol.validation import definitions_of, problems_with
from cyberun_async._protocol.workflows import ParameterDef, get_workflow
from cyberun_async._resources.slug_suggestions import SlugSuggestions
from cyberun_async._transport.single_flight import SingleFlight
from cyberun_async._transport.transport import Transport

if TYPE_CHECKING:
    from cyberun_async._files.upload import Uploads

MAX_REMEMBERED = 256
"""Workflows whose definitions are kept; a service has far fewer."""


class Definitions:
    """The parameters of the workflows seen so far."""

    def __init__(self, transport: Transport) -> None:
        """Remember none."""
        self._transport = transport
        self._remembered: dict[str, tuple[ParameterDef, ...]] = {}
        self._reads: SingleFlight[str, tuple[ParameterDef, ...]] = SingleFlight()
        self._suggestions = SlugSuggestions(transport)

    def __repr__(self) -> str:
        """Show which workflows they are of."""
        return f"<{type(self).__name__} of {', '.join(self._remembered) or 'no workflow'}>"

    async def check(self, workflow: str, parameters: Mapping[str, object]) -> None:
        """Check parameters against a workflow's definition; only a fresh one may refuse them.

        Raises:
            InvalidParameters: They do not fit.
            APIError: The definition cannot be read.

        """
        remembered = self._remembered.get(workflow)
        if remembered is not None and not problems_with(parameters, remembered):
            return
        is_anothers = self._reads.is_running(workflow)
        problems = problems_with(parameters, await self._read_together(workflow))
        if problems and is_anothers:
            # That read began before this call, so it may be too old to refuse anything.
            problems = problems_with(parameters, await self._read_together(workflow))
        if problems:
            raise InvalidParameters(problems)

    async def _read_together(self, workflow: str) -> tuple[ParameterDef, ...]:
        """Read a definition once for all who want it now: a thousand tasks need it once.

        One that fails is its caller's failure: the next in line reads again, and only if that fails too, all do.
        """
        is_anothers = self._reads.is_running(workflow)
        try:
            return await self._reads.run(workflow, lambda: self._read(workflow))
        except CyberunError:
            if not is_anothers:
                raise
        return await self._reads.run(workflow, lambda: self._read(workflow))

    async def _read(self, workflow: str) -> tuple[ParameterDef, ...]:
        try:
            definition = await self._transport.send(get_workflow(workflow))
        except NotFoundError as error:
            await self._suggestions.add_to(error, workflow)
            raise
        self._remembered.pop(workflow, None)
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[workflow] = parameters = definitions_of(definition)
        return parameters


class SubmissionPreparer:
    """Checks the parameters of a submission, and uploads the files among them.

    Args:
        transport: Reads the definitions of workflows.
        uploads: Gives what sends files, which is imported where there is one.

    """

    def __init__(self, transport: Transport, uploads: Callable[[], "Uploads"]) -> None:
        """Read nothing."""
        self._definitions = Definitions(transport)
        self._uploads = uploads

    def __repr__(self) -> str:
        """Show which workflows are remembered."""
        return f"<{type(self).__name__} with {self._definitions!r}>"

    async def check(self, workflow: str, parameters: Mapping[str, object] | None) -> None:
        """Check parameters as a submission does, and send nothing of them; see `AsyncClient.validate`."""
        values = {} if parameters is None else parameters
        endpoints.run_workflow(
            workflow, values
        )  # For what it refuses: a name that is none, values that are no mapping.
        with _nothing_is_submitted():
            await self._definitions.check(workflow, values)

    async def prepare(
        self, workflow: str, parameters: Mapping[str, object] | None, *, validate: bool, dispatch: Dispatch
    ) -> Call[Submitted]:
        """Give the call that submits a task, once its parameters are known to fit; see `AsyncClient.submit`."""
        values = {} if parameters is None else parameters
        call = endpoints.run_workflow(workflow, values, dispatch)
        with _nothing_is_submitted():
            if validate:
                await self._definitions.check(workflow, values)
            if any(is_file_like(value) for value in values.values()):
                call = endpoints.run_workflow(workflow, await self._uploads().of_parameters(values), dispatch)
        return call


@contextmanager
def _nothing_is_submitted() -> Iterator[None]:
    """Have each error say that there is no task: its own request was another one, of which it may say otherwise."""
    try:
        yield
    except CyberunError as error:
        error.may_have_been_sent = False
        raise
