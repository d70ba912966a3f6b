"""Tasks and workflows, shown: columns on a terminal, tabs in a pipe, one JSON object a line for programs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

import attrs

from cyberun_async import ParameterDef, Task, TaskResult, Workflow
from cyberun_async._protocol.timestamps import format_timestamp
from cyberun_async.cli._show import result_as_json
from cyberun_async.cli._table import write_table
from cyberun_async.cli._text import printable, write_json, write_line


async def show_tasks(tasks: AsyncIterator[Task], slugs: Mapping[str, str], *, limit: int, as_json: bool) -> None:
    """Show up to `limit` tasks, each with its workflow by the slug, where that is known."""
    rows: list[Sequence[str]] = []
    left = limit
    while left > 0 and (task := await anext(tasks, None)) is not None:
        left -= 1
        slug = slugs.get(task.workflow_id or "")
        if as_json:
            write_json({**_as_json("task", task), "workflow": slug})
        else:
            workflow = slug or task.workflow_id or ""
            rows.append((task.id, task.status, _in_short(task.created_at), workflow, task.error or ""))
    write_table(("TASK", "STATUS", "CREATED", "WORKFLOW", "ERROR"), rows)


def show_task(task: Task, *, as_json: bool) -> None:
    """Show how a task stands."""
    if as_json:
        write_json(_as_json("task", task))
    else:
        write_line(printable(f"{task.id}: {task.status}"))


async def show_workflows(workflows: AsyncIterator[Workflow], *, as_json: bool) -> None:
    """Show all workflows."""
    rows: list[Sequence[str]] = []
    async for workflow in workflows:
        if as_json:
            write_json(_as_json("workflow", workflow))
        else:
            rows.append(
                (
                    workflow.slug or workflow.id,
                    "" if workflow.version is None else str(workflow.version),
                    workflow.status or "",
                    workflow.description or workflow.display_name or "",
                )
            )
    write_table(("WORKFLOW", "VERSION", "STATUS", "DESCRIPTION"), rows)


def show_workflow(workflow: Workflow, *, as_json: bool) -> None:
    """Show a workflow with its parameters, and a command that runs it."""
    if as_json:
        write_json(_as_json("workflow", workflow))
        return
    name = workflow.slug or workflow.id
    write_line(printable(f"{name}@{workflow.version}" if workflow.version is not None else name))
    if workflow.description:
        write_line(printable(workflow.description))
    write_line("")
    rows = [(each.key, _type_of(each), _default_of(each), each.description or "") for each in workflow.parameters]
    write_table(("PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"), rows)
    required = "".join(f" -p {each.key}={_sample_of(each)}" for each in workflow.parameters if each.required)
    write_line("")
    write_line(printable(f"cyberun-async run {name}{required} --out ."))


def show_result(result: TaskResult, *, links: bool, as_json: bool) -> None:
    """Show what became of a task; its presigned URLs only if asked for."""
    if as_json:
        write_json(result_as_json(result, links=links))
        return
    completed = format_timestamp(result.completed_at) if result.completed_at else None
    facts = {"task": result.id, "status": result.status, "error": result.error, "completed": completed}
    for name, value in facts.items():
        if value:
            write_line(printable(f"{name}: {value}"))
    for file in result.files:
        write_line(printable(f"file: {file.name}"))
        if links:
            write_line(printable(file.url))


def _as_json(kind: str, record: Task | Workflow) -> Mapping[str, object]:
    fields = attrs.asdict(record, filter=lambda field, _: field.name != "extra")
    fields[f"{kind}_id"] = fields.pop("id")
    return {"type": kind, **fields}


def _in_short(moment: datetime | None) -> str:
    """Write a moment so that it fits beside an id, and breaks between date and time where it does not."""
    return format_timestamp(moment.replace(microsecond=0)).replace("T", " ") if moment else ""


def _type_of(parameter: ParameterDef) -> str:
    if parameter.options:
        return "|".join(map(str, parameter.options))
    least, most = parameter.min, parameter.max
    span = "" if least is None and most is None else f" {_bound(least)}..{_bound(most)}"
    return parameter.type + span


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def _default_of(parameter: ParameterDef) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default is None else str(parameter.default)


def _sample_of(parameter: ParameterDef) -> str:
    return {"file": "@FILE", "number": "NUMBER", "boolean": "true"}.get(parameter.type, "TEXT")
