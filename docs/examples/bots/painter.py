"""What a bot does for a picture, whatever its platform: ask for it, tell how far it is, bring it, or say why not."""

import logging
from collections.abc import Awaitable, Callable
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
    InvalidParameters,
    NotFoundError,
    ProgressEvent,
    RateLimiter,
    StatusEvent,
    StorageError,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TransportError,
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
"""Seconds until Cyberun is asked again when it has not answered for minutes."""
PATIENCE = 10.0
"""Seconds that an edit on the way may take; there will be another."""
PARTING = 3.0
"""Seconds that a bot which is stopped has to say so in its messages."""


class TryAgain(Exception):
    """The platform does not take this now, but will in so many seconds."""

    def __init__(self, seconds: float) -> None:
        """Keep the seconds."""
        super().__init__(seconds)
        self.seconds = seconds


class Refused(Exception):
    """The platform will never take this, for the reason that it gives: a message is gone, a file too large."""


class Message(Protocol):
    """A message of the bot's own, as a platform has it."""

    async def edit(self, text: str) -> None:
        """Make it say something else."""

    async def send_file(self, name: str, data: bytes) -> None:
        """Answer it with a file."""


def describe(event: TaskEvent) -> str | None:
    """Put an event in words, where it is one that people care for."""
    match event:
        case ProgressEvent(progress=float(done)):
            return text_bar(done)
        case StatusEvent(status=status):
            return f"⏳ {status}"  # Whatever the word: a new one is as good.
        case _:
            return None


def apologise(error: CyberunError) -> str:
    """Say why there will be no picture: what the user can mend, and else that it is not theirs to mend."""
    match error:
        case InvalidParameters(problems=problems):
            return "🙅 " + "\n".join(problems)
        case BadRequestError(message=message):
            return f"🙅 {message}"
        case TransportError(may_have_been_sent=True):
            return "🌧 Cyberun did not answer, and may be painting all the same. Ask again if one too many is no harm."
        case _:
            return "🌧 There are no pictures to be had at the moment. Please ask again later."


class Painter:
    """The orders of all chats, from the command to the picture, for as long as the bot runs."""

    def __init__(
        self,
        client: AsyncClient,
        unfinished: Unfinished,
        message_of: Callable[[Order], Message],
        limiter_of: Callable[[int], RateLimiter],
    ) -> None:
        """Have nothing to do yet.

        Args:
            client: Cyberun.
            unfinished: What is remembered.
            message_of: Finds the message of an order, after a restart, too.
            limiter_of: Makes the limiter of a chat.

        """
        self._client = client
        self._unfinished = unfinished
        self._message_of = message_of
        # Of chats that have long been silent it forgets the limiters: they would give a turn at once anyway.
        self._limiter_of = lru_cache(maxsize=10_000)(limiter_of)
        self._lines: WeakValueDictionary[int, anyio.Lock] = WeakValueDictionary()
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
            log.warning("the bot leaves tasks running, and finds them again when it is started: %d", left)

    async def resume(self) -> None:
        """Go on with what was unfinished when the bot stopped."""
        for order in await self._unfinished.all():
            self._group.start_soon(self._guard, self._follow, order)

    def accept(self, order: Order, prompt: str) -> None:
        """Begin with an order, whose message is there already."""
        self._group.start_soon(self._guard, self._paint, order, prompt.strip())

    async def cancel(self, user: int, chat: int) -> str:
        """Cancel what a user has asked for in a chat, and say what was done; others' tasks are out of reach."""
        async with self._line_of(user):  # So that a task which is just being submitted is cancelled, too.
            task_ids = [order.task_id for order in await self._unfinished.of(user) if order.chat == chat]
            try:
                for task_id in filter(None, task_ids):
                    with suppress(ConflictError):  # It has ended already.
                        await self._client.tasks.cancel(task_id)
            except CyberunError as error:
                return apologise(error)
        return "🛑 Stopping …" if task_ids else "You have asked for nothing here that could be stopped."

    async def say(self, chat: int, act: Callable[[], Awaitable[T]]) -> T:
        """Do what must not be missing, when it is the chat's turn, and as often as it takes."""
        await self._limiter_of(chat).acquire()
        return await self._insist(chat, act)

    async def _insist(self, chat: int, act: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await act()
            except TryAgain as error:
                self._limiter_of(chat).hold(error.seconds)
                await self._limiter_of(chat).acquire()

    def _line_of(self, user: int) -> anyio.Lock:
        return self._lines.setdefault(user, anyio.Lock())

    async def _guard(self, work: Callable[..., Awaitable[None]], order: Order, *rest: str) -> None:
        try:
            await work(order, *rest)
        except Exception:
            # What is wrong with one order must not end the others; it is tried again after a restart.
            log.exception("order %s was given up", order)

    async def _paint(self, order: Order, prompt: str) -> None:
        try:
            order = await self._submit(order, prompt)
        except CyberunError as error:
            if not isinstance(error, InvalidParameters):
                log.warning("%s: %s", type(error).__name__, error)
            await self._limiter_of(order.chat).acquire()
            await self._end(order, apologise(error))
        else:
            await self._follow(order)

    async def _submit(self, order: Order, prompt: str) -> Order:
        if not 0 < len(prompt) <= MAX_PROMPT:
            raise InvalidParameters([f"Say in up to {MAX_PROMPT} characters what to paint: /imagine a lighthouse"])
        async with self._line_of(order.user):
            if len(await self._unfinished.of(order.user)) >= MAX_TASKS:
                raise InvalidParameters([f"{MAX_TASKS} pictures at a time: please wait for one of yours."])
            await self._unfinished.put(order)
            # A bot that is stopped waits for the answer: a task whose id is lost is paid for, and never seen.
            with anyio.CancelScope(shield=True):
                order = replace(order, task_id=await self._client.submit(WORKFLOW, {"prompt": prompt}))
                await self._unfinished.put(order)
        return order

    async def _follow(self, order: Order) -> None:
        try:
            await self._end(order, await self._see_through(order))
        except Refused as error:
            # Nobody can see how it gets on, so nobody should pay for it.
            log.info("task %s is cancelled: %s", order.task_id, error)
            if order.task_id is not None:
                with suppress(CyberunError):
                    await self._client.tasks.cancel(order.task_id)
            await self._unfinished.remove(order)

    async def _end(self, order: Order, text: str) -> None:
        """Use a turn to tell how it ended, and forget it."""
        with suppress(Refused):  # Then there is nobody to be told.
            await self._insist(order.chat, partial(self._message_of(order).edit, text[:MAX_TEXT]))
        with anyio.CancelScope(shield=True):
            await self._unfinished.remove(order)

    async def _see_through(self, order: Order) -> str:
        """Tell how a task gets on, and give the last words about it, and a turn to say them."""
        if order.task_id is None:
            await self._limiter_of(order.chat).acquire()
            return "🌧 I was stopped while I asked for this. Ask again if one too many is no harm."
        while True:
            try:
                await self._show_progress(order, order.task_id)
                return await self._deliver(order, order.task_id)
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
                await self.say(order.chat, partial(self._message_of(order).edit, sorry))
                await anyio.sleep(AGAIN)

    async def _show_progress(self, order: Order, task_id: str) -> None:
        """Edit the message until the task has ended; the turn of the last event is left."""
        message, limiter, shown = self._message_of(order), self._limiter_of(order.chat), None
        try:
            async with throttle(self._client.events(task_id), limiter) as updates:
                async for event in updates:
                    text = describe(event)
                    if text in (None, shown):
                        continue
                    try:
                        # Seen through, also when the bot is stopped: cut off, it might arrive after the next one.
                        with anyio.move_on_after(PATIENCE, shield=True):
                            await message.edit(text)
                            shown = text
                    except TryAgain as error:
                        limiter.hold(error.seconds)  # And then there is other news.
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(PARTING, shield=True), suppress(TryAgain, Refused):
                await limiter.acquire()
                await message.edit("⏸ I am away for a moment. Your picture goes on without me.")
            raise

    async def _deliver(self, order: Order, task_id: str) -> str:
        """Send the files, each in a turn, and leave one."""
        result = await self._client.wait_for_result(task_id)
        message = self._message_of(order)
        text = "✅ Done" if result.files else "🎨 Done, but there is no picture."
        for file in result.files:
            data = await self._client.read_file(file)
            try:
                await self._insist(order.chat, partial(message.send_file, file.name, data))
            except Refused as error:
                text = f"🎨 Done, but it cannot be sent here: {error}"
            await self._limiter_of(order.chat).acquire()
        return text
