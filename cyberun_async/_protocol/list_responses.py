"""Find the list, or the record, in a response that has it in an envelope.

Documented is `{"task_list": [...], "page_meta": {...}}`; a bare array, a list under another name and an envelope are
recognised as well.

Source: https://docs.cyberun.cloud/api-reference
"""

from collections.abc import Mapping

import attrs

_ENVELOPES = ("data", "result", "results", "response", "payload")

_OF_ERRORS = ("error", "errors", "details", "warnings")
_NO_ENVELOPES = ("page_meta", *_OF_ERRORS)
"""What holds no list of items, even if it holds lists."""


@attrs.frozen
class ListAnswer:
    """A list as the response has it.

    Attributes:
        items: Its items, not yet read.
        meta: What the response says of the page, not yet read.

    """

    items: list[object]
    meta: object = None


def find_list(answer: object, documented: str) -> ListAnswer | None:
    """Find the list; `None` where the response has none.

    Args:
        answer: The response's JSON.
        documented: The documented name of the list.

    """
    if isinstance(answer, list):
        return ListAnswer(answer)
    if not isinstance(answer, dict):
        return None
    meta = answer.get("page_meta")
    items = _list_in(answer, documented)
    if items is not None:
        return ListAnswer(items, meta)
    for name in (documented, *_ENVELOPES, *(name for name in answer if name not in _NO_ENVELOPES)):
        inner = find_list(answer[name], documented) if isinstance(answer.get(name), dict) else None
        if inner is not None:
            return ListAnswer(inner.items, meta if inner.meta is None else inner.meta)
    # Go writes an empty list as `null`, PHP as an empty object.
    is_empty = documented in answer and not answer[documented] and not isinstance(answer[documented], (str, bool))
    return ListAnswer([], meta) if is_empty or isinstance(meta, dict) else None


def in_envelope(answer: object, name: str) -> object:
    """Give the object that a response has in an envelope, or under the name of what it is; `None` where there is none."""
    if not isinstance(answer, dict):
        return None
    return next((answer[each] for each in (name, *_ENVELOPES) if isinstance(answer.get(each), dict)), None)


def _list_in(page: Mapping[str, object], documented: str) -> list[object] | None:
    """Give the list that most likely is the one: by its documented name, by the pattern of those, by what is in it."""
    lists = {name: items for name, items in page.items() if isinstance(items, list) and name not in _OF_ERRORS}
    if documented in page:
        return lists.get(documented)
    alike = [name for name in lists if name.endswith("_list")]
    of_objects = [name for name, items in lists.items() if any(isinstance(item, dict) for item in items)]
    return next((lists[name] for name in (*alike, *of_objects, *lists)), None)
