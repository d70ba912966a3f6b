"""Answers that differ from their pages in ways that a client can live with: optional fields, shapes, spellings.

What a client needs stays: the id of a task, how a task ended, the key and the type of a parameter, the kind of an event.
A task that was cancelled is always called so, since nothing else in a response shows it.

https://docs.cyberun.cloud/api-reference
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Json = Any
Change = Callable[[random.Random, Json], Json]
"""Takes a value as it is documented, and gives it in another form."""

_TIMES = (
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "expires_at",
    "timestamp",
    "last_heartbeat",
    "connected_at",
)
_NUMBERS = ("retry_count", "version", "task_timeout", "max_retries", "min_vram_gb", "step_current", "step_total", "gpu_capacity", "running_count", "tasks_completed", "min", "max", "current_page", "per_page", "total_count", "exposed_port")  # fmt: skip
_COSMETIC = ("workflow_id", "agent_id", "agent_labels", "gateway_id", "gpu_type", "dispatch_target", "target_pool", "tool_type", "display_name", "description", "required_labels", "required_models", "preferred_gpu", "label", "node_id", "field", "target_path", "source_key", "current_node", "stage", "message", "started_at", "created_at", "updated_at", "timestamp", "expires_at", "retry_count", "step_current", "progress", "agent_version", "system_stats", "running_tasks", "platform_arch")  # fmt: skip
_NONSENSE: tuple[Json, ...] = (None, "", 0, -1, 7.5, True, "odd", [], [None], {}, {"odd": [1]}, ["odd"])
_ALIASES = {"id": "task_id", "task_status": "status", "task_error": "error", "task_output": "output"}
_SUCCESS, _FAILURE = ("succeeded", "SUCCESS", "done", "archived"), ("error", "TIMED_OUT", "expired", "archived")


class Oddities:
    """One kind of oddness: what it does to an answer follows from the seed, the call and how often that was made.

    Args:
        seed: Two servers with one seed are odd in the same ways.

    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}

    def dice(self, name: str) -> random.Random:
        """Give the dice for the next answer to a call, or for one of its events."""
        self._counts[name] = self._counts.get(name, 0) + 1
        return random.Random(f"{self._seed} {name} {self._counts[name]}")

    def ignores_filters(self) -> bool:
        """Whether lists are given whole, whatever was asked for."""
        return random.Random(f"{self._seed} filters").random() < 0.3

    def answer(self, operation: str, status: int, value: Json) -> Json:
        """Give an answer in another form."""
        dice = self.dice(operation)
        if status >= 400:
            return _error(dice, value)
        return _ANSWERS.get(operation, _plain)(dice, value)

    def event(self, block: bytes) -> bytes:
        """Give an event in another form."""
        head, _, data = block.partition(b"\ndata: ")
        name = head.removeprefix(b"event: ").decode()
        try:
            fields = json.loads(data)
        except ValueError:
            return block
        if not isinstance(fields, dict):
            return block
        dice = self.dice(f"event {name}")
        shown = dice.choice((name, name, name.upper(), name.capitalize()))
        return f"event: {shown}\n{_lines(dice, _event(dice, name, fields))}\n\n".encode()


def _maybe(dice: random.Random, chance: float = 0.25) -> bool:
    return dice.random() < chance


def _plain(dice: random.Random, value: Json) -> Json:
    """Change what is cosmetic, and how times and numbers are written, and add what is new."""
    if not isinstance(value, dict):
        return value
    odd = dict(value)
    for name, item in value.items():
        if name in _COSMETIC and _maybe(dice, 0.15):
            odd[name] = dice.choice(_NONSENSE)
        elif name in _COSMETIC and _maybe(dice, 0.1):
            del odd[name]
        elif name in _TIMES and isinstance(item, str) and _maybe(dice):
            odd[name] = _time(dice, item)
        elif name in _NUMBERS and isinstance(item, (int, float)) and _maybe(dice):
            odd[name] = dice.choice((str(item), float(item), f"{item:g}"))
    if _maybe(dice):
        odd |= {"x_new": dice.choice(_NONSENSE), "x_link": "https://storage.invalid/a?X-Amz-Signature=0"}
    return dict(dice.sample(list(odd.items()), len(odd))) if _maybe(dice) else odd


def _time(dice: random.Random, text: str) -> Json:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    seconds = moment.timestamp()
    return dice.choice(
        (
            text.replace("T", " "),
            text.replace("Z", "+0000"),
            text.lower(),
            seconds,
            int(seconds * 1000),
            str(int(seconds)),
        )
    )


def _word(dice: random.Random, status: str) -> str:
    if status == "cancelled" and _maybe(dice):
        return "canceled"
    return dice.choice((status, status, status.upper(), status.capitalize()))


def _about_task(dice: random.Random, value: Json) -> Json:
    """Change how a task, or its result, says what it says."""
    odd: dict[str, Json] = _plain(dice, value)
    status = value["task_status"]
    odd["task_status"] = _word(dice, status)
    has_end = bool(value.get("completed_at")) and status in {"completed", "failed"}
    if has_end and _maybe(dice):
        odd["task_status"] = dice.choice(_SUCCESS if status == "completed" else _FAILURE)
        odd["completed_at"] = _time(dice, value["completed_at"])
    if has_end and _maybe(dice):
        odd["completed_at"] = _time(dice, value["completed_at"])
        del odd["task_status"]
    if value.get("task_error") and _maybe(dice):
        odd["task_error"] = dice.choice(
            ({"message": value["task_error"]}, [value["task_error"]], {"error": value["task_error"]})
        )
    for name, other in _ALIASES.items():
        if name in odd and _maybe(dice):
            odd[other] = odd.pop(name)
    if "id" in odd and _maybe(dice, 0.1):
        del odd["id"]
    return odd


def _result(dice: random.Random, value: Json) -> Json:
    odd: dict[str, Json] = _about_task(dice, value)
    urls = value.get("download_urls")
    if urls and _maybe(dice, 0.5):
        odd["download_urls"] = dice.choice(
            (
                {key: {"url": url} for key, url in urls.items()},
                {key: [url] for key, url in urls.items()},
                [{"key": key, "url": url} for key, url in urls.items()],
                {**urls, "odd": None},
            )
        )
    elif value.get("download_url") and _maybe(dice, 0.5):
        odd["download_urls"] = dice.choice(({"9.images.0": value["download_url"]}, None, [], {}))
    output = next((name for name in ("task_output", "output") if odd.get(name)), None)
    if output and _maybe(dice):
        odd[output] = dice.choice((["a.png"], "a.png", [odd[output]]))
    return odd


def _listed(of: Change, name: str) -> Change:
    def change(dice: random.Random, value: Json) -> Json:
        items = [of(dice, item) for item in value[name]]
        meta = _plain(dice, value["page_meta"])
        if _maybe(dice):
            items.insert(dice.randrange(len(items) + 1), dice.choice((None, "odd", 5, {}, [])))
        shape = dice.randrange(8)
        if shape == 0 and len(value[name]) == value["page_meta"]["total_count"]:
            return items
        if shape == 1:
            return {"data": {name: items, "page_meta": meta}}
        if shape == 2:
            return {"data": items, "page_meta": meta}
        if shape == 3:
            return {"page_meta": meta, "tags": ["odd"], "found": items}
        if shape == 4 and len(value[name]) == value["page_meta"]["total_count"]:
            return {name: items, "page_meta": dice.choice((None, "1/1", []))}
        return _plain(dice, {name: items, "page_meta": meta})

    return change


def _listed_task(dice: random.Random, value: Json) -> Json:
    odd: dict[str, Json] = _about_task(dice, value)
    if "id" not in odd and "task_id" not in odd:
        odd["id"] = value["id"]
    if _maybe(dice, 0.5):
        odd.pop("task_status", None)
    return odd


def _workflow(dice: random.Random, value: Json) -> Json:
    odd: dict[str, Json] = _plain(dice, value)
    if "parameters" in value:
        definitions = [_definition(dice, each) for each in value["parameters"]]
        odd["parameters"] = definitions
        if _maybe(dice):
            odd["parameters"] = {each["key"]: each for each in definitions}
    return odd


def _definition(dice: random.Random, value: Json) -> Json:
    odd: dict[str, Json] = _plain(dice, value)
    odd["type"] = dice.choice((value["type"], value["type"].upper()))
    if value.get("options") and _maybe(dice, 0.5):
        odd["options"] = [{"label": option.title(), "value": option} for option in value["options"]]
    if value.get("accept") and _maybe(dice, 0.5):
        odd["accept"] = ",".join(value["accept"])
    if "min" in odd and _maybe(dice):
        odd["min"] = dice.choice(("odd", {}, None))
    return odd


def _presigned(dice: random.Random, value: Json) -> Json:
    headers = value["upload_headers"]
    forms: tuple[Callable[[str], Json], ...] = (
        str,
        lambda text: int(text) if text.isdigit() else text,
        lambda text: [text],
    )
    form = dice.choice(forms)
    return _plain(dice, {**value, "upload_headers": {name: form(text) for name, text in headers.items()}})


def _submitted(dice: random.Random, value: Json) -> Json:
    return _plain(dice, value if _maybe(dice, 0.7) else {"id": value["task_id"]})


def _error(dice: random.Random, value: Json) -> Json:
    words = value.get("error_message") if isinstance(value, dict) else None
    if not words:
        return value
    return dice.choice(
        (
            value,
            {"error": words},
            {"error": {"message": words, "code": 5}},
            {"message": words},
            {"detail": words},
            {"detail": [{"loc": ["body"], "msg": words}]},
        )
    )


_ANSWERS: Mapping[str, Change] = {
    "workflows.list": _listed(_workflow, "workflow_list"),
    "workflows.get": _workflow,
    "workflows.run": _submitted,
    "tasks.list": _listed(_listed_task, "task_list"),
    "tasks.get": _about_task,
    "tasks.result": _result,
    "agents.list": _listed(_plain, "agent_list"),
    "files.presign": _presigned,
}


def _event(dice: random.Random, name: str, fields: dict[str, Json]) -> dict[str, Json]:
    odd: dict[str, Json] = _plain(dice, fields)
    if name == "status":
        odd["status"] = _word(dice, fields.get("status", ""))
    elif _maybe(dice):
        odd.pop("status", None)
    if _maybe(dice):
        odd.pop("task_id", None)
    if name == "progress" and isinstance(fields.get("progress"), float) and _maybe(dice):
        share = fields["progress"]
        odd["progress"] = dice.choice((str(share), f"{share:.0%}", 100 * share))
    if fields.get("error") and _maybe(dice):
        odd["error"] = {"message": fields["error"]}
    if fields.get("output") and _maybe(dice):
        odd["output"] = dice.choice((["a.png"], "a.png"))
    return odd


def _lines(dice: random.Random, fields: dict[str, Json]) -> str:
    """Write data on one line, on several, or on several of which only the first says that it is data."""
    text = json.dumps(fields, indent=dice.choice((None, None, None, 2)))
    between = dice.choice(("\ndata: ", "\n"))
    return "data: " + text.replace("\n", between)
