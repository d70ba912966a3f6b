"""A fingerprint of an item's parameters, by which an item of an earlier run is recognized: dedup."""

import hashlib
import json
import os
from collections.abc import Mapping

import attrs

from cyberun_async._batch.outcome import Parameters
from cyberun_async._errors import InvalidParameters
from cyberun_async._protocol.files import InputFile


def fingerprint(parameters: Parameters) -> str:
    """Give a digest by which the same parameters are recognized; a file counts by its path.

    Raises:
        InvalidParameters: Something in them cannot be recognized again.

    """
    try:
        text = json.dumps(parameters, default=_comparable, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"with a journal, parameters must be JSON values, bytes or paths, to be recognised again ({error})"
        raise InvalidParameters([problem]) from None
    return hashlib.sha256(text.encode()).hexdigest()


def _comparable(value: object) -> object:
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, InputFile):
        return attrs.asdict(value, recurse=False)
    if isinstance(value, os.PathLike):
        return {"path": os.fspath(value)}
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{type(value).__name__} is none of these"
    raise TypeError(message)
