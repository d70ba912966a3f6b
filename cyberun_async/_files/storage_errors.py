"""What an error response of the storage means: expired, transient, gone, or final; and the reason in words."""

import re
from collections.abc import Mapping, Sequence
from html import unescape

import attrs

from cyberun_async._protocol.error_responses import is_passing_status, retry_after_of
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Secret

# Expired and forged presigned URLs are rejected by 403 (S3), or by 400 or 401 elsewhere.
_MAY_BE_EXPIRED = frozenset({400, 401, 403})

_MEANINGS = {
    401: "the storage rejected the presigned URL",
    403: "the storage rejected the presigned URL",
    404: "the storage does not have it (any more): inputs are kept for a day, and outputs for 7 days or without end, "
    "as the deployment is set",
    410: "the storage does not have it any more",
}

_NOT_STORED = frozenset({404, 410})

_CODE = re.compile(r"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")


@attrs.frozen
class StorageErrorResponse:
    """A response of the storage that is not what was asked for.

    Attributes:
        status: The HTTP status code.
        reason: In words, without the signature that some storages put into theirs.
        retry_after: Seconds that it asked to wait.

    """

    status: int
    reason: str
    retry_after: float | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return is_passing_status(self.status)

    @property
    def advice(self) -> str:
        """What is left to do where a retry does not help."""
        return "submit the task again" if self.status in _NOT_STORED else "ask the operator of this Cyberun server"

    @property
    def may_be_expired(self) -> bool:
        """Whether a fresh presigned URL may be what it takes."""
        return self.status in _MAY_BE_EXPIRED


def read_storage_error(
    status: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[Secret[str]] = ()
) -> StorageErrorResponse:
    """Give what an error response says; of its body only what S3 documents as its code and message, less every secret."""
    text = body.decode("utf-8", "replace")
    found = [redact(unescape(match[1]), secrets) for match in (_CODE.search(text), _MESSAGE.search(text)) if match]
    if 300 <= status < 400:
        meaning = "the storage redirects to another place, which is not followed"
    else:
        meaning = _MEANINGS.get(status, "the storage refused")
    said = f": {', '.join(found)}" if found else ""
    return StorageErrorResponse(status, f"{meaning} ({status}{said})", retry_after_of(headers))
