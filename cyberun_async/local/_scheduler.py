"""What happens to a task between its submission and its end."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

from . import scripts
from ._clock import Clock
from ._http import wire_time
from ._script_values import Script
from ._storage import Storage
from ._tasks import TERMINAL, Task, sse
from ._workflows import Job, LocalWorkflow, Output

AGENT_ID = "agent-gpu-01"


class Scheduler:
    """Takes tasks through their scripts. There is room for any number at once: this server's choice."""

    def __init__(self, clock: Clock, storage: Storage, threads: Executor, *, pace: float) -> None:
        self._clock = clock
        self._storage = storage
        self._started_at = clock.now()
        self._threads = threads
        self._pace = 1.0 if clock.is_held else pace
        self._scripts: dict[str, deque[Script]] = {}
        self.tasks: dict[str, Task] = {}
        self.on_end: Callable[[Task], None] = lambda _: None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.tasks)} tasks, {self.scripts_waiting} scripts>"

    def script_next(self, script: Script) -> None:
        """Give the next tasks of a workflow this life instead of their usual one; calls queue up."""
        self._scripts.setdefault(script.workflow, deque()).append(script)

    @property
    def scripts_waiting(self) -> int:
        """How many scripts wait for a task."""
        return sum(map(len, self._scripts.values()))

    def submit(
        self,
        workflow: LocalWorkflow,
        parameters: Mapping[str, object],
        *,
        dispatch_target: str,
        target_pool: str,
        team_id: str,
    ) -> Task:
        """Take in a task and let its life begin."""
        now = self._clock.now()
        task = Task(str(uuid.uuid4()), workflow, parameters, now, team_id, dispatch_target, target_pool)
        self.tasks[task.id] = task
        task.life = self._clock.live(self._live(task, self._script_for(task)))
        return task

    def cancel(self, task: Task) -> None:
        """End the task as cancelled; one that is over stays as it is."""
        if not task.is_over:
            self._end(task, "cancelled")
            if task.life is not None:
                task.life.cancel()

    def listen(self, task: Task) -> asyncio.Queue[bytes | None]:
        """Open a stream on the task.

        What comes first on a new stream is not documented. Here it is the present status, or the end if it has come;
        what happened before is not repeated.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if task.is_over:
            queue.put_nowait(sse(*task.terminal_event()))
            queue.put_nowait(None)
        else:
            queue.put_nowait(sse("status", self._status_data(task)))
            task.listeners.add(queue)
        return queue

    def agent(self, team_id: str) -> dict[str, object]:
        """Describe the one agent, which runs everything, as a team sees it."""
        own = [task for task in self.tasks.values() if task.team_id == team_id]
        running = [task.id for task in own if task.status == "running"]
        device = {
            "device_name": "NVIDIA GeForce RTX 4090",
            "device_type": "cuda",
            "vram_total": 24 << 30,
            "vram_free": 20 << 30,
        }
        stats = {"comfyui_version": "0.3.40", "pytorch_version": "2.7.0", "os_type": "posix", "gpu_devices": [device]}
        return {
            "agent_id": AGENT_ID,
            "agent_status": "busy" if running else "idle",
            "agent_labels": ["comfyui", "cuda"],
            "last_heartbeat": wire_time(self._clock.now()),
            "agent_version": "1.0.0",
            "tool": "comfyui",
            "tool_version": "0.3.40",
            "comfyui_version": "0.3.40",
            "gpu_capacity": 1,
            "running_count": len(running),
            "running_tasks": running,
            "platform_arch": "linux/amd64",
            "connected_at": wire_time(self._started_at),
            "tasks_completed": sum(task.status == "completed" for task in own),
            "current_task_id": running[-1] if running else None,
            "system_stats": stats,
        }

    def _script_for(self, task: Task) -> Sequence[scripts.Step]:
        planned = self._scripts.get(task.workflow.slug)
        if planned:
            first = planned.popleft()
            if first.times is None or first.times > 1:
                planned.appendleft(replace(first, times=first.times and first.times - 1))
            return first.steps
        script = task.workflow.script
        if script is None:
            steps = self._job(task).number("steps")
            return scripts.usual_life(min(steps, 100) or 20)
        return script(self._job(task)) if callable(script) else script

    async def _live(self, task: Task, script: Sequence[scripts.Step]) -> None:
        # Steps are due at moments, not one delay after another: a slow machine must not stretch a life.
        when = self._clock.time()
        for step in script:
            if isinstance(step, scripts.After):
                when += step.seconds * self._pace
                await self._clock.sleep_until(when)
            else:
                await self._take(task, step)

    async def _take(self, task: Task, step: scripts.Step) -> None:
        match step:
            case scripts.Status(word):
                self._set_status(task, word)
            case scripts.Event("error", data):
                task.send(sse("error", data))
            case scripts.Event(name, data):
                task.send(sse(name, {"task_id": task.id, "timestamp": wire_time(self._clock.now()), **data}))
            case scripts.Raw(data):
                task.send(data)
            case scripts.Complete(None):
                await self._make_outputs(task)
            case scripts.Complete(output):
                self._end(task, "completed", output=output)
            case scripts.Fail(message):
                self._end(task, "failed", error=message)
            case scripts.Cancel():
                self._end(task, "cancelled")

    def _set_status(self, task: Task, word: str) -> None:
        if word in TERMINAL:
            self._end(task, word)
            return
        task.status = word
        if word in {"queued", "running"} and task.agent_id is None:
            task.agent_id = AGENT_ID
        if word == "running" and task.started_at is None:
            task.started_at = self._clock.now()
        task.send(sse("status", self._status_data(task)))

    def _end(self, task: Task, status: str, *, output: Mapping[str, object] | None = None, error: str = "") -> None:
        if task.is_over:
            return
        task.status, task.output, task.error = status, output, error
        task.completed_at = self._clock.now()
        task.send(sse(*task.terminal_event()))
        task.send(None)
        self.on_end(task)

    async def _make_outputs(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        try:
            outputs = await loop.run_in_executor(self._threads, _make, task.workflow, self._job(task))
        except Exception as error:  # noqa: BLE001 - whatever a workflow's function raises is how its task failed
            self._end(task, "failed", error=str(error) or type(error).__name__)
            return
        self._end(task, "completed", output=self._store(task, outputs))

    def _store(self, task: Task, outputs: Sequence[Output]) -> dict[str, object]:
        if task.workflow.is_cloud:
            stored: dict[str, object] = {}
            for index, output in enumerate(outputs):
                key = self._storage.put_output(f"outputs/{task.id}/{output.name}", output)
                stored[output.key or f"output.{index}"] = {"s3_key": key}
            return stored
        keys = [self._storage.put_output(f"tasks/{task.id}/{output.name}", output) for output in outputs]
        images = sum(output.content_type.startswith("image/") for output in outputs)
        return {"storage_key": keys[0], "image_count": images} if keys else {"image_count": 0}

    def _job(self, task: Task) -> Job:
        return Job(task.id, task.parameters, partial(self._storage.read_input, team_id=task.team_id))

    def _status_data(self, task: Task) -> dict[str, object]:
        return {"task_id": task.id, "status": task.status, "timestamp": wire_time(self._clock.now())}


def _make(workflow: LocalWorkflow, job: Job) -> Sequence[Output]:
    made = workflow.make(job) if workflow.make is not None else []
    if isinstance(made, bytes):
        return [_named_by_its_bytes(made)]
    return [made] if isinstance(made, Output) else made


_PICTURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


def _named_by_its_bytes(data: bytes) -> Output:
    """Name a picture as ComfyUI does, and what is none as it was."""
    kind = next((kind for magic, kind in _PICTURES if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        return Output(data)
    return Output(data, f"output_00001_.{'jpg' if kind == 'jpeg' else kind}", f"image/{kind}")
