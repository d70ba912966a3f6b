"""The life of a task as a short list: ``[status("waiting"), after(2), progress(3, 20), fail("out of memory")]``.

A task is ``pending`` when its script begins. A script that does not end it leaves it in its last state forever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Step", "after", "cancel", "complete", "error", "event", "fail", "progress", "raw", "status"]


@dataclass(frozen=True, slots=True)
class After:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """Move the task to a status and say so on its streams."""

    word: str


@dataclass(frozen=True, slots=True)
class Event:
    """Send one event on the task's streams; nothing else changes."""

    name: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Raw:
    """Send bytes on the task's streams, as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Complete:
    """End well: with the output given, else with what the workflow makes."""

    output: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """End with an error."""

    message: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """End as if somebody had cancelled the task."""


Step = After | Status | Event | Raw | Complete | Fail | Cancel


def status(word: str) -> Step:
    """Move the task to ``waiting``, ``queued``, ``running``, or to a status that no client knows."""
    return Status(word)


def after(seconds: float) -> Step:
    """Let `seconds` pass on the server's clock (times the server's `pace`, unless the clock is held)."""
    return After(seconds)


def progress(
    step: int,
    total: int,
    *,
    node: str | None = "3",
    fraction: float | None = None,
    stage: str | None = None,
    message: str | None = None,
) -> Step:
    """Report `step` of `total`. `stage` and `message` are what Nerfstudio tasks add.

    https://docs.cyberun.cloud/api-reference/streaming-events
    """
    data: dict[str, object] = {"progress": round(step / total, 4) if fraction is None else fraction}
    optional = {"current_node": node, "step_current": step, "step_total": total, "stage": stage, "message": message}
    return Event("progress", data | {key: value for key, value in optional.items() if value is not None})


def complete(output: Mapping[str, object] | None = None) -> Step:
    """Complete the task, with `output` as its ``task_output``, or else with what its workflow makes."""
    return Complete(output)


def fail(message: str) -> Step:
    """Fail the task."""
    return Fail(message)


def cancel() -> Step:
    """End the task as cancelled, as if a colleague had done it."""
    return Cancel()


def error(message: str = "failed to fetch task status") -> Step:
    """Send the ``error`` event, which has no ``task_id`` and ends nothing."""
    return Event("error", {"message": message})


def event(name: str, data: Mapping[str, object]) -> Step:
    """Send any event; ``task_id`` and ``timestamp`` are added unless `data` has them."""
    return Event(name, data)


def raw(data: bytes) -> Step:
    """Send bytes that need not be an event at all."""
    return Raw(data)


def usual_life(steps: int = 20) -> Sequence[Step]:
    """Live as a ComfyUI task does when nothing goes wrong: about five seconds at `pace` 1."""
    begin = [after(0.2), status("waiting"), after(0.4), status("queued"), after(0.4), status("running")]
    ticks = [step for n in range(1, steps + 1) for step in (after(4 / steps), progress(n, steps))]
    return [*begin, *ticks, complete()]
