"""The events of one task for any number of readers, each of whom reads at their own pace (fan-out)."""

import copy
import hashlib
import math
import re
import secrets
from collections import Counter, deque
from collections.abc import Hashable
from typing import TYPE_CHECKING

import anyio
import attrs

from cyberun_async._errors import CyberunError
from cyberun_async._protocol.events import ProgressEvent, StatusEvent, TaskEvent, encode_event
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import ProviderIdentity, Settings

if TYPE_CHECKING:
    from cyberun_async._client import AsyncClient

_LINE_END = re.compile(r"\r\n|\r|\n")
_EVENT_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})", re.ASCII)
_DIGEST_KEY = secrets.token_bytes(16)


@attrs.frozen
class Account:
    """Whose tasks a client sees: two clients with equal ones may share what they hear of a task.

    Attributes:
        base_url: The service.
        team_id: The team, where one is sent.
        credential: A digest of the key, since a key belongs in no `repr`; or the provider of tokens itself.
        headers: Names and digests of the headers for a gateway, which may know users of its own.

    """

    base_url: str
    team_id: str | None
    credential: Hashable = attrs.field(repr=False)
    headers: tuple[tuple[str, bytes], ...] = attrs.field(default=(), repr=False)


def account_of(settings: Settings) -> Account:
    """Give the account that a client with these settings uses."""
    token = settings.token
    credential: Hashable = ProviderIdentity(token)
    if isinstance(token, Key):
        credential = _digest(token)
    headers = tuple((name, _digest(value)) for name, value in settings.headers)
    return Account(settings.base_url, settings.team_id, credential, headers)


def _digest(secret: Key) -> bytes:
    return hashlib.blake2b(secret.reveal().encode(), key=_DIGEST_KEY).digest()


@attrs.frozen
class ChannelItem:
    """One event, ready to be sent.

    Attributes:
        number: Its place among all events of the channel, from 1.
        text: As a Server-Sent Event.
        event: The event, or `None` for one of the relay's own.

    """

    number: int
    text: bytes
    event: TaskEvent | None


class Channel:
    """What is known of one task: the events so far, and the readers that wait for the next one.

    Attributes:
        is_over: Whether no further event will come.
        failure: Why the task cannot be followed, or `None`.
        is_known: Whether there was an event of the task.
        scope: The scope in which the task is followed; the readers' presence is its deadline.

    """

    def __init__(self, history: int, linger: float) -> None:
        # Numbers of an earlier life of the backend must not pass for ours.
        self.name: str = secrets.token_hex(4)
        self.is_over: bool = False
        self.failure: BaseException | None = None
        self.is_known: bool = False
        self.scope: anyio.CancelScope = anyio.CancelScope()
        self._items: deque[ChannelItem] = deque(maxlen=history)
        self._linger = linger
        self._clients: Counter[AsyncClient] = Counter()
        self._count = 0
        self._latest: dict[type[TaskEvent], TaskEvent] = {}
        self._changed = anyio.Event()

    def __repr__(self) -> str:
        """Show how far it is, and whether it goes on."""
        state = "over" if self.is_over else "open"
        return f"<{type(self).__name__} {self.name} {state}: {self._count} events, {self._clients.total()} readers>"

    @property
    def takes_readers(self) -> bool:
        """Whether a reader who comes now is in time."""
        return not self.scope.cancel_called

    @property
    def clients(self) -> list["AsyncClient"]:
        """The clients of the readers that are there."""
        return list(self._clients)

    def join(self, client: "AsyncClient") -> None:
        self._clients[client] += 1
        self.scope.deadline = math.inf

    def leave(self, client: "AsyncClient") -> None:
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]
        if not self._clients and not self.scope.cancel_called:
            self.scope.deadline = anyio.current_time() + self._linger

    def publish(self, event: TaskEvent) -> None:
        """Add an event of the task, unless it repeats what the channel has published."""
        self.is_known = True
        if isinstance(event, (StatusEvent, ProgressEvent)):
            latest = self._latest.get(type(event))
            self._latest[type(event)] = event
            if latest is not None and _says_the_same(event, latest):
                return
        self._add(*encode_event(event), event)

    def fail(self, failure: BaseException, name: str, data: str) -> None:
        """End with an event of the relay's own."""
        self.failure = failure
        self._add(name, data, None)
        self.end()

    def _add(self, name: str, data: str, event: TaskEvent | None) -> None:
        self._count += 1
        lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
        text = f"id: {self.name}-{self._count}\nevent: {name}\n{lines}\n"
        self._items.append(ChannelItem(self._count, text.encode(), event))
        self.wake()

    def end(self) -> None:
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        """Have every reader check for items."""
        self._changed.set()
        self._changed = anyio.Event()

    def after(self, number: int) -> ChannelItem | None:
        """Give the event after a number, or the oldest of those after it that is remembered."""
        behind = self._count - number
        if behind <= 0:
            return None
        return self._items[max(0, len(self._items) - behind)]

    def place_of(self, last_event_id: str | None) -> int:
        """Give the number that a reader has come to; one that comes from elsewhere starts over."""
        match = _EVENT_ID.fullmatch(last_event_id or "")
        return int(match[2]) if match and match[1] == self.name else 0

    async def changed(self, within: float = math.inf) -> bool:
        """Wait for the next event, for a bounded time."""
        with anyio.move_on_after(within):
            await self._changed.wait()
            return True
        return False

    def raise_exit(self) -> None:
        """Raise what ends the process, such as the `SystemExit` of a token provider: it belongs to the readers' tasks."""
        if self.failure is not None and not isinstance(self.failure, Exception):
            raise self.failure

    def raise_failure(self) -> None:
        """Raise a copy of the failure: each of many readers adds to the traceback of what it raises."""
        failure = self.failure
        if isinstance(failure, CyberunError):
            own = copy.copy(failure)
            own.__cause__, own.__suppress_context__ = failure.__cause__, True
            raise own
        if failure is not None:
            raise failure


def _says_the_same(event: StatusEvent | ProgressEvent, latest: TaskEvent) -> bool:
    """Whether an event repeats the latest of its kind, as the first ones of another stream do."""
    if isinstance(event, StatusEvent) and isinstance(latest, StatusEvent):
        return event.status == latest.status
    return event == latest
