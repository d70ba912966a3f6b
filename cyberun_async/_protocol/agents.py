"""The machines that run tasks, and the call that asks for them."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from cyberun_async._protocol.call import Call
from cyberun_async._protocol.fields import extra_field, on_wire, redact_repr, wire
from cyberun_async._protocol.pages import MAX_PAGE_SIZE, Page, page_query
from cyberun_async._protocol.record import Record


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class GPU(Record):
    """One GPU of an agent; what it leaves out is `None`.

    Source: https://docs.cyberun.cloud/api-reference/agent/list-connected-agents

    Attributes:
        name: Its name, such as `NVIDIA GeForce RTX 4090`.
        type: Its kind, such as `cuda`.
        vram_total: Its memory, in bytes as the agent reports it.
        vram_free: How much of that is free, likewise.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    name: str | None = wire("device_name", default=None)
    type: str | None = wire("device_type", default=None)
    vram_total: int | None = None
    vram_free: int | None = None
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class SystemStats(Record):
    """What an agent says of its machine; what it leaves out is `None` or empty.

    Source: https://docs.cyberun.cloud/api-reference/agent/list-connected-agents

    Attributes:
        comfyui_version: The version of ComfyUI.
        pytorch_version: The version of PyTorch.
        os_type: Its operating system, such as `posix`.
        gpus: Its GPUs.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    comfyui_version: str | None = None
    pytorch_version: str | None = None
    os_type: str | None = None
    gpus: tuple[GPU, ...] = wire("gpu_devices", default=())
    extra: Mapping[str, object] = extra_field()


@redact_repr
@attrs.frozen(kw_only=True, repr=False)
class Agent(Record):
    """A machine of the team that runs tasks.

    Every field but `id` is `None` or empty where the server leaves it out.

    Source: https://docs.cyberun.cloud/api-reference/agent/list-connected-agents

    Attributes:
        id: Its name; not a UUID.
        status: `idle`, `busy`, `syncing`, `tunnel` or `unhealthy`.
        labels: What workflows ask for by `required_labels`.
        last_heartbeat: When it was last heard of.
        version: The version of the agent program.
        tool: The tool that it runs.
        tool_version: The version of that tool.
        comfyui_version: The version of ComfyUI.
        gpu_capacity: How many tasks it can run at once.
        running_count: How many it runs.
        running_tasks: Which ones.
        platform_arch: Its processor architecture.
        sync_phase: The phase of a model synchronisation.
        sync_detail: What is synchronised.
        sync_percent: How far that is, 0 to 100.
        connected_at: When it connected.
        tasks_completed: How many tasks it has completed.
        current_task_id: The task it works on.
        system_stats: Its machine.
        extra: What else the server says, and what of it did not fit, as it came.

    """

    id: str = attrs.field(metadata=on_wire("agent_id"))
    status: str | None = wire("agent_status", default=None)
    labels: tuple[str, ...] = wire("agent_labels", default=())
    last_heartbeat: datetime | None = None
    version: str | None = wire("agent_version", default=None)
    tool: str | None = None
    tool_version: str | None = None
    comfyui_version: str | None = None
    gpu_capacity: int | None = None
    running_count: int | None = None
    running_tasks: tuple[object, ...] = ()
    platform_arch: str | None = None
    sync_phase: str | None = None
    sync_detail: str | None = None
    sync_percent: float | None = None
    connected_at: datetime | None = None
    tasks_completed: int | None = None
    current_task_id: str | None = None
    system_stats: SystemStats | None = None
    extra: Mapping[str, object] = extra_field()


def list_agents(number: int = 1, per_page: int = MAX_PAGE_SIZE) -> Call[Page[Agent]]:
    """Ask for one page of the team's agents."""
    return Call("GET", "/r/agents", Page[Agent], query=page_query(number, per_page))
