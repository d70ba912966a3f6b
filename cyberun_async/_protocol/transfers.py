"""What an answer of the storage means, and whether a transfer is tried again."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape

import attrs

from cyberun_async._protocol.hiding import hide
from cyberun_async._protocol.refusals import retry_after_of
from cyberun_async._protocol.secret import Secret
from cyberun_async._settings import Retries

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

# Expired and forged links are refused by 403 (S3), or by 400 or 401 elsewhere.
_LINK_REFUSED = frozenset({400, 401, 403})

_MEANINGS = {
    401: "the storage refused the link",
    403: "the storage refused the link",
    404: "the storage does not have it (any more): Cyberun keeps outputs for 7 days and inputs for 1 day by default",
    410: "the storage does not have it any more",
}

_GONE = frozenset({404, 410})

_CODE = re.compile(r"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")


@attrs.frozen
class Refusal:
    """An answer of the storage that is not what was asked for.

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
        return self.status in _TRANSIENT

    @property
    def advice(self) -> str:
        """What is left to do where trying again is not."""
        return "submit the task again" if self.status in _GONE else "ask whoever runs this Cyberun"

    @property
    def is_of_the_link(self) -> bool:
        """Whether a fresh link may be what it takes."""
        return self.status in _LINK_REFUSED


def read_refusal(status: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[Secret[str]] = ()) -> Refusal:
    """Give what a refusal says; of its body only what S3 documents as its code and message, less every secret."""
    text = body.decode("utf-8", "replace")
    found = [hide(unescape(match[1]), secrets) for match in (_CODE.search(text), _MESSAGE.search(text)) if match]
    if 300 <= status < 400:
        meaning = "the storage redirects to another place, which is not followed"
    else:
        meaning = _MEANINGS.get(status, "the storage refused")
    said = f": {', '.join(found)}" if found else ""
    return Refusal(status, f"{meaning} ({status}{said})", retry_after_of(headers))


class Patience:
    """How long a transfer is tried again that comes no further."""

    def __init__(self, retries: Retries, now: float, jitter: Callable[[], float] = random.random) -> None:
        """Start now."""
        self._retries = retries
        self._jitter = jitter
        self.progressed(now)

    def progressed(self, now: float) -> None:
        """Note that something moved, so that the delays and the budget start over."""
        self._fruitless = 0
        self._since = now

    def delay(self, now: float, asked: float | None = None) -> float | None:
        """Give the seconds until the next try, or `None` where there is none.

        Args:
            now: In seconds, on the clock that it was made with.
            asked: What the storage asked to wait, in seconds.

        """
        if asked is not None and asked > self._retries.retry_after:
            return None
        ceiling = min(self._retries.maximum, self._retries.initial * 2.0 ** min(self._fruitless, 30))
        self._fruitless += 1
        delay = (asked or 0.0) + self._jitter() * ceiling
        return delay if now - self._since + delay <= self._retries.budget else None
