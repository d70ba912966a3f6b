"""Tasks as the server remembers them, and what it shows of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ._http import wire_time
from ._workflows import LocalWorkflow

STATUSES = ("pending", "waiting", "queued", "running", "completed", "failed", "cancelled")
TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(slots=True, eq=False)
class Task:
    """One task: where it stands, and who is listening."""

    id: str
    workflow: LocalWorkflow
    parameters: Mapping[str, object]
    created_at: datetime
    team_id: str
    dispatch_target: str = "agent"
    target_pool: str = "team"
    status: str = "pending"
    error: str = ""
    output: Mapping[str, object] | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    agent_id: str | None = None
    life: asyncio.Task[None] | None = None
    listeners: set[asyncio.Queue[bytes | None]] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    def wire(self) -> dict[str, object]:
        """Give the status body. https://docs.cyberun.cloud/api-reference/task/get-task-status

        The field that says how the task was created is left out: the docs do not show its name.
        """
        has_agent = self.agent_id is not None
        return {
            "id": self.id,
            "workflow_id": self.workflow.id,
            "task_status": self.status,
            "created_at": wire_time(self.created_at),
            "task_error": self.error,
            "retry_count": 0,
            "started_at": wire_time(self.started_at),
            "completed_at": wire_time(self.completed_at),
            "agent_id": self.agent_id,
            "agent_labels": ["comfyui", "cuda"] if has_agent else [],
            "gateway_id": "gw-a1b2c3d4" if has_agent else None,
            "gpu_type": "NVIDIA GeForce RTX 4090" if has_agent else None,
            "dispatch_target": self.dispatch_target,
            "target_pool": self.target_pool,
            "tool_type": self.workflow.tool_type,
        }

    def result(self, links: Mapping[str, object]) -> dict[str, object]:
        """Give the result body. https://docs.cyberun.cloud/api-reference/task/get-task-result"""
        return {
            "id": self.id,
            "task_status": self.status,
            "task_output": self.output,
            "download_url": None,
            "expires_at": None,
            "task_error": self.error,
            "completed_at": wire_time(self.completed_at),
            **links,
        }

    def terminal_event(self) -> tuple[str, dict[str, object]]:
        """Give the event that ends this task's streams."""
        data: dict[str, object] = {"task_id": self.id, "status": self.status}
        if self.status == "completed":
            data |= {"completed_at": wire_time(self.completed_at), "output": self.output}
        elif self.status == "failed":
            data["error"] = self.error
        return self.status, data

    def send(self, chunk: bytes | None) -> None:
        """Hand bytes, or the end (None), to every open stream."""
        for listener in self.listeners:
            listener.put_nowait(chunk)


def sse(name: str, data: Mapping[str, object]) -> bytes:
    """Write one event as https://docs.cyberun.cloud/api-reference/streaming-events shows it."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
