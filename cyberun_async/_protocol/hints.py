"""Terminal statuses where none is expected: an event of another kind may say that its task has ended."""

from cyberun_async._errors import DecodeError
from cyberun_async._protocol.json_text import parse_json
from cyberun_async._protocol.status import TaskStatus


def terminal_status_in(data: str) -> TaskStatus | None:
    """Find a terminal status in the data of an event; it is a hint, and the API is asked."""
    # Events without a status are the usual case, and this is their whole price.
    if 'status"' not in data:
        return None
    try:
        fields = parse_json(data)
    except DecodeError:
        return None
    if isinstance(fields, dict):
        for name in ("status", "task_status"):
            value = fields.get(name)
            if isinstance(value, str) and TaskStatus(value).is_terminal:
                return TaskStatus(value)
    return None
