"""What a bot does for a picture, on any platform: submit it, show its progress, deliver it, or explain why not."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.abc
from unfinished import Order, Unfinished

from cyberun_async import (
    AsyncClient,
    BadRequestError,
    ConflictError,
    CyberunError,
    EventStream,
    InvalidParameters,
    NotFoundError,
    ProgressEvent,
    RateLimiter,
    StatusEvent,
    StorageError,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    text_bar,
    throttle,
)

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

log = logging.getLogger("bot")

WORKFLOW = "text-to-image"
MAX_PROMPT = 300
MAX_TASKS = 3
MAX_TEXT = 1000
"""Characters of a message, part of which others wrote; Telegram takes 4096, Discord 2000."""
AGAIN = 30.0
"""Seconds until the next attempt when Cyberun has not responded for minutes."""
PATIENCE = 10.0
"""Seconds that a progress edit may take; there will be another."""
PARTING = 5.0
"""Seconds that a bot which is stopped has to say so in its messages, as far as their chats have turns left."""
FIRST_PAUSE, MAX_PAUSE = 5.0, 300.0
"""Seconds until an order is resumed after an unexpected error; each delay doubles the last one."""
ASKING = "✏️ Asking …"


class TryAgain(Exception):
    """The platform does not take this now, but will in so many seconds."""

    def __init__(self, seconds: float) -> None:
        """Keep the seconds."""
        super().__init__(seconds)
        self.seconds = seconds


class Refused(Exception):
    """The platform will never take this, for the reason that it gives: a message is gone, a file too large."""


class Platform(Protocol):
    """What a bot does in the chats of its platform."""

    async def send(self, order: Order, text: str) -> int:
        """Reply to a command, and return the id of the reply."""

    async def edit(self, order: Order, text: str) -> None:
        """Edit the reply."""

    async def send_file(self, order: Order, name: str, data: bytes) -> None:
        """Answer it with a file."""


def describe(event: TaskEvent) -> str | None:
    """Describe an event, if users care about it."""
    match event:
        case ProgressEvent(progress=float(done)):
            return text_bar(done)
        case StatusEvent(status=status):
            return f"⏳ {status}"  # Unknown statuses, too.
        case _:
            return None


def apologise(error: CyberunError) -> str:
    """Say why there will be no picture: what the user can mend, and else that it is not theirs to mend."""
    match error:
        case InvalidParameters(problems=problems):
            return "🙅 " + "\n".join(problems)
        case BadRequestError(message=message):
            return f"🙅 {message}"
        case CyberunError(may_have_been_sent=True):
            return "🌧 Cyberun gave no clear answer, and may be painting all the same. Ask again if one too many is no harm."
        case _:
            return "🌧 There are no pictures to be had at the moment. Please ask again later."


async def news_of(events: EventStream) -> AsyncGenerator[TaskEvent, None]:
    """Drop events that are not shown, so that they take no slot."""
    async with events:
        async for event in events:
            if describe(event) is not None:
                yield event


class Painter:
    """The orders of all chats, from the command to the picture, for as long as the bot runs.

    An order is written down before anything waits for it: a command to cancel finds it wherever it stands, and so does
    the next start of the bot. Each step is noted as soon as it is done, and none is done that is noted already.
    """

    def __init__(
        self,
        client: AsyncClient,
        unfinished: Unfinished,
        platform: Platform,
        limiter_of: Callable[[int], RateLimiter],
    ) -> None:
        """Have nothing to do yet.

        Args:
            client: Cyberun.
            unfinished: What is remembered.
            platform: Where messages are sent.
            limiter_of: Makes the limiter of a chat.

        """
        self._client = client
        self._unfinished = unfinished
        self._platform = platform
        # Of chats that have long been silent it forgets the limiters: they would give a turn at once anyway.
        self._limiter_of = lru_cache(maxsize=10_000)(limiter_of)
        self._lines: WeakValueDictionary[int, anyio.Lock] = WeakValueDictionary()
        self._in_work: set[tuple[int, int]] = set()
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> "Self":
        """Be ready for orders."""
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and leave the tasks running: they are found again."""
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        with anyio.CancelScope(shield=True):
            left = len(await self._unfinished.all())
        if left:
            log.warning("the bot leaves orders unfinished, and takes them up again when it is started: %d", left)

    async def resume(self) -> None:
        """Take up what was unfinished when the bot stopped."""
        for order in await self._unfinished.all():
            self._begin(order)

    async def note(self, order: Order) -> Order:
        """Write an order down, or what is new about it."""
        return await self._unfinished.put(order)

    async def accept(self, order: Order) -> None:
        """Write an order down, and begin with it."""
        self._begin(await self.note(order))

    def _begin(self, order: Order) -> None:
        # A platform that did not hear that a command was taken in, as after a kill, sends it once more.
        if (order.chat, order.command) not in self._in_work:
            self._in_work.add((order.chat, order.command))
            self._group.start_soon(self._guard, order)

    async def cancel(self, user: int, chat: int) -> str:
        """Cancel what a user has asked for in a chat, and say what was done; others' tasks are out of reach."""
        orders = [order for order in await self._unfinished.of(user) if order.chat == chat]
        for order in orders:
            await self._unfinished.put(replace(order, is_cancelled=True))
        async with self._line_of(user):  # So that a task which is just being submitted is cancelled, too.
            answer = "🛑 Stopping …" if orders else "You have asked for nothing here that could be stopped."
            for order in orders:
                try:
                    await self._cancel_task((await self._unfinished.find(order)) or order)
                except CyberunError as error:  # The others are cancelled all the same.
                    answer = apologise(error)
        return answer

    async def _cancel_task(self, order: Order) -> None:
        if order.task_id is not None:
            with suppress(ConflictError, NotFoundError):  # It has ended already.
                await self._client.tasks.cancel(order.task_id)

    async def say(self, chat: int, act: Callable[[], Awaitable[T]]) -> T:
        """Do what must not be missing, when it is the chat's turn, and as often as it takes."""
        while True:
            async with self._limiter_of(chat) as limiter:
                try:
                    return await act()
                except TryAgain as error:
                    limiter.hold(error.seconds)

    def _line_of(self, user: int) -> anyio.Lock:
        return self._lines.setdefault(user, anyio.Lock())

    async def _guard(self, order: Order) -> None:
        """Handle an order until its end was reported, whatever fails; other orders are independent of it."""
        pause, found = FIRST_PAUSE, order
        while found is not None:
            try:
                await self._see_to(found)
                break
            except Exception:
                log.exception("order %s waits for %g s", found, pause)
            await anyio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE)
            found = await self._unfinished.find(order)
        self._in_work.discard((order.chat, order.command))

    async def _see_to(self, order: Order) -> None:
        """Take an order from where it stands to its end."""
        try:
            if order.message is None:
                order = await self._answer(order)
            await self._end(order, await self._outcome_of(order))
        except Refused as error:
            # No user can see its progress, so no user should pay for it.
            log.info("order %s is cancelled: %s", order, error)
            with suppress(CyberunError):
                await self._cancel_task((await self._unfinished.find(order)) or order)
            await self._unfinished.remove(order)

    async def _answer(self, order: Order) -> Order:
        """Answer the command; a number that is known is noted before anything else waits."""

        async def send() -> Order:
            with anyio.CancelScope(shield=True):
                message = await self._platform.send(order, ASKING)
                return await self._unfinished.put(replace(order, message=message))

        return await self.say(order.chat, send)

    async def _end(self, order: Order, text: str) -> None:
        """Tell how it ended, and forget it."""
        with suppress(Refused):  # Then there is no message to edit.
            await self.say(order.chat, partial(self._platform.edit, order, text[:MAX_TEXT]))
        await self._unfinished.remove(order)

    async def _outcome_of(self, order: Order) -> str:
        """Submit an order if it is not yet, follow its task, and return the final message."""
        if order.task_id is None:
            try:
                order = await self._submit(order)
            except CyberunError as error:
                if not isinstance(error, InvalidParameters):
                    log.warning("%s: %s", type(error).__name__, error)
                return apologise(error)
        if order.task_id is not None:
            return await self._follow(order, order.task_id)
        if order.is_asked:
            return "🌧 I was stopped while I asked for this. Ask again if one too many is no harm."
        return "🛑 Stopped."

    async def _submit(self, order: Order) -> Order:
        """Submit an order, or leave it as it is where it is cancelled or was submitted already."""
        if not 0 < len(order.prompt) <= MAX_PROMPT:
            raise InvalidParameters([f"Say in up to {MAX_PROMPT} characters what to paint: /imagine a lighthouse"])
        async with self._line_of(order.user):
            others = [each.command for each in await self._unfinished.of(order.user)]
            if order.command in others[MAX_TASKS:]:
                raise InvalidParameters([f"{MAX_TASKS} pictures at a time: please wait for one of yours."])
            order = (await self._unfinished.find(order)) or order
            if order.is_asked or order.is_cancelled:
                return order
            # A bot that is stopped waits for the response: a task whose id is lost is billed, and never delivered.
            with anyio.CancelScope(shield=True):
                order = await self._unfinished.put(replace(order, is_asked=True))
                task_id = await self._client.submit(WORKFLOW, {"prompt": order.prompt})
                return await self._unfinished.put(replace(order, task_id=task_id))

    async def _follow(self, order: Order, task_id: str) -> str:
        """Show the progress of a task, deliver it, and return the final message."""
        while True:
            try:
                if order.is_cancelled:  # Perhaps the bot was stopped before it had cancelled the task.
                    await self._cancel_task(order)
                await self._show_progress(order, task_id)
                return await self._deliver(order, task_id)
            except TaskFailed as error:
                return f"❌ {error.error or 'It failed.'}"
            except TaskCancelled:
                return "🛑 Stopped."
            except NotFoundError:
                return "🌧 Cyberun does not know of this any more."
            except CyberunError as error:
                if isinstance(error, StorageError) and not error.retryable:
                    return f"🎨 Done, but it cannot be fetched: {error}"
                # The network, the service or the key; the task cannot help it.
                log.warning("%s: %s", type(error).__name__, error)
                sorry = "🌧 No word from Cyberun. I go on asking."
                await self.say(order.chat, partial(self._platform.edit, order, sorry))
                await anyio.sleep(AGAIN)

    async def _show_progress(self, order: Order, task_id: str) -> None:
        """Edit the message until the task has ended."""
        limiter, shown = self._limiter_of(order.chat), None
        try:
            async with throttle(news_of(self._client.events(task_id)), limiter) as updates:
                async for event in updates:
                    text = describe(event)
                    if text in (None, shown):
                        continue
                    try:
                        # Shielded, also when the bot is stopped: a cancelled edit might arrive after the next one.
                        with anyio.move_on_after(PATIENCE, shield=True):
                            await self._platform.edit(order, text)
                            shown = text
                    except TryAgain as error:
                        limiter.hold(error.seconds)  # And then there is other news.
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(PARTING, shield=True), suppress(TryAgain, Refused):
                async with limiter:
                    await self._platform.edit(order, "⏸ I am away for a moment. Your picture goes on without me.")
            raise

    async def _deliver(self, order: Order, task_id: str) -> str:
        """Send the files that were not sent yet, each in a turn."""
        result = await self._client.wait_for_result(task_id)
        text = "✅ Done" if result.files else "🎨 Done, but there is no picture."
        for number, file in enumerate(result.files[order.sent :], order.sent + 1):
            data = await self._client.read_file(file)
            try:
                order = await self.say(
                    order.chat, partial(self._send_file, replace(order, sent=number), file.name, data)
                )
            except Refused as error:
                text = f"🎨 Done, but it cannot be sent here: {error}"
        return text

    async def _send_file(self, order: Order, name: str, data: bytes) -> Order:
        """Send a file, and note at once that it was sent: a bot that is stopped here would send it again."""
        with anyio.CancelScope(shield=True):
            await self._platform.send_file(order, name, data)
            return await self._unfinished.put(order)
