"""The one value that crosses the layers: a request, and the type of its response."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class Call(Generic[T_co]):
    """One request to the API.

    Attributes:
        method: The HTTP method.
        path: Below the base URL, with every variable part escaped.
        returns: The type that the response is structured into; `NoneType` ignores the body, and the transport's own
            `Response` is given as it came.
        query: Sent as the query string, in order: values by name, or pairs.
        body: Sent as JSON, or `None` for no body.
        repeatable: Whether sending it twice does no more than sending it once.
        task_id: The task that it is about, for the errors.
        read: Reads the response from its body and headers, where that takes more than structuring the body.

    """

    method: str
    path: str
    returns: type[T_co]
    query: Mapping[str, str | int] | Sequence[tuple[str, str]] = attrs.field(factory=dict)
    body: object = attrs.field(default=None, repr=False)
    repeatable: bool = True
    task_id: str | None = None
    read: Callable[[bytes, Mapping[str, str]], T_co] | None = None
