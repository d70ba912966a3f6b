"""What stays in its process. (pickle, copy)"""

from typing import NoReturn

from cyberun_async._errors import ConfigurationError


class ProcessBound:
    """Leads to connections and to a key, so that it is neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Refuse, and say what to do."""
        message = (
            f"{type(self).__name__} cannot be pickled or copied, since its connections belong to this process: "
            "pass on ids and results, and make a client where they are used"
        )
        raise ConfigurationError(message)
