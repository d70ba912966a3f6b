"""What an answer of the storage means, and whether a transfer is tried again."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape

import attrs

from cyberun_async._backoff import backoff
from cyberun_async._protocol.error_responses import retry_after_of
from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Secret
from cyberun_async._settings import Retries

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

# Expired and forged links are refused by 403 (S3), or by 400 or 401 elsewhere.
_LINK_REFUSED = frozenset({400, 401, 403})

_MEANINGS = {
    401: "the storage rejected the presigned URL",
    403: "the storage rejected the presigned URL",
    404: "the storage does not have it (any more): inputs are kept for a day, and outputs for 7 days or without end, "
    "as the deployment is set",
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
    found = [redact(unescape(match[1]), secrets) for match in (_CODE.search(text), _MESSAGE.search(text)) if match]
    if 300 <= status < 400:
        meaning = "the storage redirects to another place, which is not followed"
    else:
        meaning = _MEANINGS.get(status, "the storage refused")
    said = f": {', '.join(found)}" if found else ""
    return Refusal(status, f"{meaning} ({status}{said})", retry_after_of(headers))


class RetryBudget:
    """The retry budget of one transfer: how long it is retried without coming further than ever before.

    A restart from the beginning gets nowhere until it passes the furthest point that was reached, so a body that always
    breaks and cannot be resumed uses the budget up. The first failure since then is always retried (unless the budget
    is 0), however long the attempt took: one stalled read may last longer than the whole budget.
    """

    def __init__(self, retries: Retries, jitter: Callable[[], float] = random.random) -> None:
        """Start before the first attempt."""
        self._retries = retries
        self._jitter = jitter
        self.furthest = 0
        self._forget()

    def _forget(self) -> None:
        self._failures = 0
        self._first_failed: float | None = None

    def progressed(self, done: int) -> bool:
        """Note how many bytes are there now, and say whether that is further than ever; the budget starts over then."""
        is_further = done > self.furthest
        if is_further:
            self.furthest = done
            self._forget()
        return is_further

    def start_over(self) -> None:
        """Begin a second transfer of the same bytes, which is to have the whole budget again."""
        self.furthest = 0
        self._forget()

    def delay(self, now: float, asked: float | None = None) -> float | None:
        """Give the seconds until the next attempt, or `None` where there is none.

        Args:
            now: In seconds, on any clock.
            asked: What the storage asked to wait, in seconds; it has a limit of its own, and counts once it has passed.

        """
        retries = self._retries
        if not retries.budget or (asked is not None and asked > retries.retry_after):
            return None
        own = self._jitter() * backoff(self._failures, initial=retries.initial, maximum=retries.maximum)
        self._failures += 1
        if self._first_failed is None:
            self._first_failed = now
            own = min(own, retries.budget)
        return (asked or 0.0) + own if now - self._first_failed + own <= retries.budget else None
