"""Terminal statuses where none is expected: an event of another kind may say that its task has ended."""

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.events import StatusEvent, TaskEvent
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.status import TaskStatus


def says_end(event: TaskEvent, data: str) -> bool:
    """Whether an event that is not the last one by its kind has a terminal status; it is a hint, and the API is asked.

    Args:
        event: The event.
        data: Its data, as the server sent it.

    """
    if isinstance(event, StatusEvent):
        return event.status.is_terminal
    try:
        fields = parse_json(data)
    except DecodeError:
        return False
    values = [fields.get(name) for name in ("status", "task_status")] if isinstance(fields, dict) else []
    return any(isinstance(value, str) and TaskStatus(value).is_terminal for value in values)
