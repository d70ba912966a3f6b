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
class ListResponse:
    """A list as the response has it.

    Attributes:
        items: Its items, not yet read.
        meta: What the response says of the page, not yet read.

    """

    items: list[object]
    meta: object = None


def find_list(response: object, documented: str) -> ListResponse | None:
    """Find the list; `None` where the response has none.

    Args:
        response: The response's JSON.
        documented: The documented name of the list.

    """
    if isinstance(response, list):
        return ListResponse(response)
    if not isinstance(response, dict):
        return None
    meta = response.get("page_meta")
    items = _list_in(response, documented)
    if items is not None:
        return ListResponse(items, meta)
    for name in (documented, *_ENVELOPES, *(name for name in response if name not in _NO_ENVELOPES)):
        inner = find_list(response[name], documented) if isinstance(response.get(name), dict) else None
        if inner is not None:
            return ListResponse(inner.items, meta if inner.meta is None else inner.meta)
    # Go writes an empty list as `null`, PHP as an empty object.
    is_empty = documented in response and not response[documented] and not isinstance(response[documented], (str, bool))
    return ListResponse([], meta) if is_empty or isinstance(meta, dict) else None


def in_envelope(response: object, name: str) -> object:
    """Give the object that a response has in an envelope, or under the name of what it is; `None` where there is none."""
    if not isinstance(response, dict):
        return None
    return next((response[each] for each in (name, *_ENVELOPES) if isinstance(response.get(each), dict)), None)


def _list_in(page: Mapping[str, object], documented: str) -> list[object] | None:
    """Give the list that most likely is the one: by its documented name, by the pattern of those, by what is in it."""
    lists = {name: items for name, items in page.items() if isinstance(items, list) and name not in _OF_ERRORS}
    if documented in page:
        return lists.get(documented)
    alike = [name for name in lists if name.endswith("_list")]
    of_objects = [name for name, items in lists.items() if any(isinstance(item, dict) for item in items)]
    return next((lists[name] for name in (*alike, *of_objects, *lists)), None)
