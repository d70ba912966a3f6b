"""What stays in its process. (pickle, copy)"""

from typing import NoReturn

from cyberun_async._errors import ConfigurationError


def refuse_copies(bound: object) -> NoReturn:
    """Be the `__reduce__` of what leads to connections and to a key: it is neither pickled nor copied.

    A base class would do as well, and would stand, private as it is, in front of `AsyncClient` in `help()`.
    """
    message = (
        f"{type(bound).__name__} cannot be pickled or copied, since its connections belong to this process: "
        "pass on ids and results, and make a client where they are used"
    )
    raise ConfigurationError(message)
