"""The rows of a journal: what is known of each item, in the form that it has on the disk.

`decisions.py` says what follows from a row. Every write puts down the complete row, so a write that failed loses nothing
that a later one does not put down again.
"""

import json

import attrs

from cyberun_async._errors import DecodeError, InvalidParameters
from cyberun_async._protocol.codec import decode_json
from cyberun_async._protocol.tasks import TaskResult
from cyberun_async._protocol.timestamps import format_timestamp

STATES = ("new", "submitting", "uncertain", "submitted", "finished")
"""How far an item is: not submitted; sent, with the response outstanding; without a response; with a task; finished."""


@attrs.frozen(kw_only=True)
class Row:
    """One item as a journal has it.

    Attributes:
        workflow: The workflow as it was named.
        key: The item's key.
        digest: Of its parameters.
        state: How far it is, one of `STATES` or the word of a later version.
        run: The batch that last dealt with it, counted from 1.
        task_id: Its task.
        began: When it was submitted, in seconds since 1970 on this machine's clock.
        matched: Whether its task was found by workflow and time.
        outcome: What became of it, as JSON.
        attempts: How many tasks it may have cost.
        response: The server's response, where it could not be understood.
        unsettled: When it was submitted before without a response, and then again: seconds since 1970, by blanks.

    """

    workflow: str
    key: str
    digest: str
    state: str = "new"
    run: int = 0
    task_id: str | None = None
    began: float | None = None
    matched: bool = False
    outcome: str | None = None
    attempts: int = 0
    response: str | None = None
    unsettled: str | None = None

    @property
    def result(self) -> TaskResult | None:
        """The item's result; `None` if there is none, or none that this version can read."""
        if self.outcome is None:
            return None
        try:
            result = decode_json(self.outcome, TaskResult)
        except DecodeError:
            return None
        return result if result.status.is_terminal else None


def check_key(key: str) -> str:
    """Refuse a key that has no form on a disk.

    Raises:
        InvalidParameters: It holds half of a surrogate pair, as a file name that is no UTF-8 or half of an emoji does.

    """
    if not is_storable(key):
        raise InvalidParameters(
            [f"the key {key!r} is not valid text, so a journal cannot hold it: give the item another"]
        )
    return key


def is_storable(text: str) -> bool:
    """Whether text has a form as UTF-8; a lone surrogate has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dump_outcome(result: TaskResult) -> str:
    """Write a result in the words of the wire, but for its URLs: they would expire, and give the files to any reader."""
    said = {
        "id": result.id,
        "task_status": result.status,
        "task_output": result.output,
        "task_error": result.error,
        "completed_at": result.completed_at and format_timestamp(result.completed_at),
    }
    return json.dumps(said, separators=(",", ":"))
