"""Workflows and the parameters that they take, and the calls that ask for them."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.conversions import expected
from cyberun_async._protocol.fields import extra_field, redact_repr, wire
from cyberun_async._protocol.json_schema import schema_of
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, Page, page_query
from cyberun_async._protocol.paths import workflow_path
from cyberun_async._protocol.record import Record


def _read_type(value: object, _: object = None) -> str:
    if not isinstance(value, str):
        raise expected("a string", value)
    return value.strip().lower()


def _read_options(value: object, _: object = None) -> tuple[str | float, ...]:
    """Read all options or none, since a value that is missing from the list would be rejected."""
    if not isinstance(value, list):
        raise expected("a list", value)
    return tuple(_option(item) for item in value)


def _option(item: object) -> str | float:
    chosen = (
        next((item[name] for name in ("value", "label") if item.get(name) is not None), item)
        if isinstance(item, dict)
        else item
    )
    if isinstance(chosen, bool) or not isinstance(chosen, (str, int, float)):
        raise expected("text or a number", chosen)
    return chosen


def _read_accept(value: object, _: object = None) -> tuple[str, ...]:
    """Read all types or none, likewise; as text they are separated as in HTML."""
    if isinstance(value, str):
        return tuple(part for part in value.replace(",", " ").split() if part)
    if not isinstance(value, list):
        raise expected("a list", value)
    for item in value:
        if not isinstance(item, str):
            raise expected("a string", item)
    return tuple(value)


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class ParameterDef(Record):
    """One parameter of a workflow.

    Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

    Attributes:
        key: The name to give it by.
        type: `string`, `number`, `boolean`, `select` or `file`, in small letters; empty where the server leaves it out.
        label: Its name for people.
        description: What it does.
        required: Whether a value must be given.
        default: What is used where none is given.
        min: The least number.
        max: The greatest number.
        options: What a `select` may be: text as documented, or numbers where the server has those.
        accept: The MIME types or file name extensions that a `file` may have.
        node_id: The ComfyUI node that takes it.
        field: The field of that node.
        target_path: The Nerfstudio setting that takes it.
        source_key: As documented, without a stated meaning.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    key: str
    type: str = wire(read=_read_type, default="")
    label: str | None = None
    description: str | None = None
    required: bool = False
    default: object = None
    min: float | None = None
    max: float | None = None
    options: tuple[str | float, ...] = wire(read=_read_options, default=())
    accept: tuple[str, ...] = wire(read=_read_accept, default=())
    node_id: str | None = None
    field: str | None = None
    target_path: str | None = None
    source_key: str | None = None
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Workflow(Record):
    """A workflow that can be run.

    A list may leave `parameters` out; `workflows.get()` has them. Every field but `id` is `None`
    or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/workflow/get-workflow-details

    Attributes:
        id: Its UUID.
        slug: Its readable name, as used in `submit()`.
        display_name: Its name for people.
        description: What it does.
        version: Goes up by one with each update.
        status: `active`, or `disabled`, which takes no new tasks.
        parameters: What it takes.
        required_labels: The labels that an agent must have to run it.
        task_timeout: Seconds that a task may take once an agent has confirmed it; 0 for no limit.
        max_retries: How often the server starts a failed task again.
        preferred_gpu: The GPU that it likes best.
        default_dispatch_target: Where its tasks go.
        min_vram_gb: Least GPU memory, in GB.
        required_models: The models that an agent must have.
        tool_type: `comfyui` or `nerfstudio`.
        created_at: When it was made.
        updated_at: When it last changed.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str
    slug: str | None = wire("workflow_slug", default=None)
    display_name: str | None = None
    description: str | None = None
    version: int | None = None
    status: str | None = wire("workflow_status", default=None)
    parameters: tuple[ParameterDef, ...] = ()
    required_labels: tuple[str, ...] = ()
    task_timeout: int | None = None
    max_retries: int | None = None
    preferred_gpu: str | None = None
    default_dispatch_target: str | None = None
    min_vram_gb: int | None = None
    required_models: tuple[str, ...] = ()
    tool_type: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    extra: Mapping[str, object] = extra_field()

    def json_schema(self) -> dict[str, object]:
        """Give the JSON Schema (draft 2020-12) of the parameters, for forms, tools of language models and slash commands.

        It needs `parameters`, so a workflow of `workflows.get()`. A `file` is the key of an uploaded one there, and
        `x-accept` lists the types that it may have. Values that fit the schema pass `AsyncClient.validate()`; that check
        also accepts files to upload, and numbers for options that are text.

        Source: https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id

        """
        return schema_of(self)


def list_workflows(number: int = 1, per_page: int = MAX_PAGE_SIZE) -> Call[Page[Workflow]]:
    """Ask for one page of the workflows."""
    return Call("GET", "/r/workflows", Page[Workflow], query=page_query(number, per_page))


def get_workflow(ref: str) -> Call[Workflow]:
    """Ask for a workflow by slug, `slug@version` or UUID."""
    return Call("GET", workflow_path(ref), Workflow)
