"""What a local Cyberun can run: workflows, their parameters, and the Python functions that make their outputs."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, get_args

from ._http import ApiError, not_found, wire_time
from .scripts import Step

_Type = Literal["string", "number", "boolean", "select", "file"]


@dataclass(frozen=True, slots=True)
class LocalParameter:
    """One parameter of a workflow, as the API describes it (a ``ParameterDef``).

    `min` and `max` go with ``number``, `options` with ``select``, `accept` with ``file``.
    https://docs.cyberun.cloud/api-reference/task/execute-a-workflow-by-id
    """

    key: str
    type: _Type = "string"
    required: bool = False
    default: object = None
    label: str = ""
    description: str = ""
    min: float | None = None
    max: float | None = None
    options: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    node_id: str | None = None
    field: str | None = None
    target_path: str | None = None
    source_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could fit."""
        if self.type not in get_args(_Type):
            message = (
                f"the type of parameter {self.key!r} must be one of {', '.join(get_args(_Type))}, not {self.type!r}"
            )
            raise ValueError(message)
        if self.type == "select" and not self.options:
            message = f"parameter {self.key!r} is a select, so it needs options"
            raise ValueError(message)

    def wire(self) -> dict[str, object]:
        """Give the parameter as the API writes it: what does not apply to its type is left out."""
        shown: dict[str, object] = {
            "key": self.key,
            "type": self.type,
            "label": self.label or self.key.replace("_", " ").capitalize(),
            "required": self.required,
        }
        lists = {"options": list(self.options), "accept": list(self.accept)}
        names = ("description", "default", "min", "max", "node_id", "field", "target_path", "source_key")
        optional = {name: getattr(self, name) for name in names} | lists
        return shown | {name: value for name, value in optional.items() if value not in (None, "", [])}

    def problem_with(self, value: object) -> str | None:
        """Say in what way a value does not fit, or None if it does."""
        types: dict[str, tuple[type, ...]] = {"number": (int, float), "boolean": (bool,)}
        fits = isinstance(value, types.get(self.type, (str,))) and (
            self.type == "boolean" or not isinstance(value, bool)
        )
        if not fits:
            return f"parameter {self.key!r} must be a {self.type}"
        if isinstance(value, (int, float)) and self.min is not None and value < self.min:
            return f"parameter {self.key!r} must be at least {self.min:g}"
        if isinstance(value, (int, float)) and self.max is not None and value > self.max:
            return f"parameter {self.key!r} must be at most {self.max:g}"
        if self.type == "select" and value not in self.options:
            return f"parameter {self.key!r} must be one of: {', '.join(self.options)}"
        return None


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a workflow made.

    `key` names it among the outputs of a cloud workflow, such as ``9.images.0`` (node, output, index);
    without one, the index is appended to ``output``.
    """

    data: bytes = field(repr=False)
    name: str = "output_00001_.bin"
    content_type: str = "application/octet-stream"
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What the function of a workflow is given: the task, its parameters with defaults filled in, and its input files."""

    task_id: str
    parameters: Mapping[str, object]
    read_input: Callable[[str], bytes] = field(repr=False)

    def text(self, key: str) -> str:
        """Read a parameter as text; empty when it is absent."""
        value = self.parameters.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> int:
        """Read a parameter as a whole number; 0 when it is absent."""
        value = self.parameters.get(key)
        return int(value) if isinstance(value, (int, float)) else 0

    def input(self, key: str) -> bytes:
        """Read the uploaded file that the ``file`` parameter names.

        Raises:
            FileNotFoundError: if nothing was uploaded under that ``file_key``; the task fails with its message.
        """
        return self.read_input(self.text(key))


Maker = Callable[[Job], "Output | bytes | Sequence[Output]"]
ScriptMaker = Callable[[Job], Sequence[Step]]


@dataclass(frozen=True, slots=True)
class LocalWorkflow:
    """A workflow: its description, what makes its outputs, and how its tasks spend their lives.

    `script` is a list of steps, or a function from a job to one; without one, tasks live the usual life.
    `make` runs in a thread. `is_cloud` sends the outputs back as ``download_urls``, like ComfyUI Cloud does.
    Only the team with the id `team_id` sees it; every team does without one.
    """

    slug: str
    make: Maker | None = None
    parameters: tuple[LocalParameter, ...] = ()
    script: Sequence[Step] | ScriptMaker | None = None
    display_name: str = ""
    description: str = ""
    is_cloud: bool = False
    is_disabled: bool = False
    tool_type: str = "comfyui"
    required_labels: tuple[str, ...] = ()
    preferred_gpu: str = "RTX_4090"
    min_vram_gb: int = 8
    required_models: tuple[str, ...] = ()
    team_id: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def wire(self) -> dict[str, object]:
        """Give the detail as the API writes it. ``workflow_json`` is withheld: the runtime API never shows it to keys."""
        return self.summary() | {"parameters": [parameter.wire() for parameter in self.parameters]}

    def summary(self) -> dict[str, object]:
        """Give the list item. Its fields are not documented: here it is the detail less the parameters."""
        return {
            "id": self.id,
            "workflow_slug": self.slug,
            "display_name": self.display_name or self.slug.replace("-", " ").capitalize(),
            "description": self.description,
            "version": self.version,
            "workflow_status": "disabled" if self.is_disabled else "active",
            "required_labels": list(self.required_labels),
            "task_timeout": 0,
            "max_retries": 0,
            "preferred_gpu": self.preferred_gpu,
            "default_dispatch_target": "agent",
            "min_vram_gb": self.min_vram_gb,
            "required_models": list(self.required_models),
            "tool_type": self.tool_type,
            "created_at": wire_time(self.created_at),
            "updated_at": wire_time(self.updated_at),
        }

    def fill(self, given: Mapping[str, object]) -> dict[str, object]:
        """Check what a caller gave and add the defaults and a seed.

        A key that the workflow does not have is passed over; that and the wording are this server's choice.

        Raises:
            ApiError: 400 naming every problem.
        """
        problems = list(self._problems(given))
        if problems:
            raise ApiError(400, "; ".join(problems))
        filled = {p.key: given.get(p.key, p.default) for p in self.parameters}
        if any(p.key == "seed" for p in self.parameters) and filled["seed"] is None:
            filled["seed"] = random.randrange(2**32)
        return {key: value for key, value in filled.items() if value is not None}

    def _problems(self, given: Mapping[str, object]) -> Iterator[str]:
        for parameter in self.parameters:
            value = given.get(parameter.key)
            if value is None:
                if parameter.required:
                    yield f"parameter {parameter.key!r} is required"
            elif problem := parameter.problem_with(value):
                yield problem


class Workflows:
    """The team's workflows, every version of each."""

    def __init__(self) -> None:
        self._versions: dict[str, list[LocalWorkflow]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self._versions)}>"

    def add(self, workflow: LocalWorkflow, now: datetime) -> LocalWorkflow:
        """Take in a workflow; one whose slug is taken becomes its next version, as an import does."""
        versions = self._versions.setdefault(workflow.slug, [])
        first = versions[0] if versions else None
        added = replace(
            workflow,
            id=first.id if first else workflow.id,
            version=len(versions) + 1,
            created_at=first.created_at if first else now,
            updated_at=now,
        )
        versions.append(added)
        return added

    def all(self, team_id: str) -> list[LocalWorkflow]:
        """The newest version of each workflow that a team sees, in the order they were added."""
        newest = [versions[-1] for versions in self._versions.values()]
        return [workflow for workflow in newest if workflow.team_id in (None, team_id)]

    def by_id(self, workflow_id: str, team_id: str) -> LocalWorkflow:
        for workflow in self.all(team_id):
            if workflow.id == workflow_id:
                return workflow
        raise not_found()

    def by_slug(self, ref: str, team_id: str) -> LocalWorkflow:
        """Find ``text-to-image``, or the snapshot ``text-to-image@2``."""
        slug, pin, version = ref.partition("@")
        versions = self._versions.get(slug, [])
        if pin and not (version.isascii() and version.isdigit()):
            raise not_found()
        index = int(version) - 1 if pin else len(versions) - 1
        if not 0 <= index < len(versions) or versions[index].team_id not in (None, team_id):
            raise not_found()
        return versions[index]
