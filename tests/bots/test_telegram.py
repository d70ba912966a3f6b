"""The Telegram bot, whole: aiogram over HTTP to a stand-in of the Bot API."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from bots.conftest import LIFE, Place, Turns
from support.lazily import Lazily

from cyberun_async import text_bar
from cyberun_async.local import LocalCyberun, LocalParameter
from cyberun_async.local.scripts import after, complete, fail, status

if TYPE_CHECKING:
    from painter import Painter
    from telegram_local import StandIn

# aiogram is made for asyncio.
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

GROUP = -2002

# aiogram alone takes longer than all other modules of the tests together.
room, telegram_bot, telegram_local, unfinished = map(Lazily, ("room", "telegram_bot", "telegram_local", "unfinished"))


class Chat(Place):
    """A person's telephone, with Telegram at the other end."""

    def __init__(
        self, server: LocalCyberun, telegram: StandIn, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Start no bot yet."""
        super().__init__(server, telegram.room, directory)
        self.telegram = telegram
        self._monkeypatch = monkeypatch

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[None]:
        """Run the bot, and stop it as Ctrl-C does."""
        make_dispatcher = telegram_bot.make_dispatcher
        dispatchers = []

        def make(painter: Painter) -> object:
            dispatcher = make_dispatcher(painter)
            # The signals are the test run's.
            dispatcher.start_polling = partial(dispatcher.start_polling, handle_signals=False)
            dispatchers.append(dispatcher)
            return dispatcher

        self.telegram.calls.clear()
        with self._monkeypatch.context() as patch:
            patch.setattr("telegram_bot.make_dispatcher", make)
            async with anyio.create_task_group() as group:
                group.start_soon(telegram_bot.run, self.telegram.bot(), self.client(), self.database)
                await self.until(lambda: "getUpdates" in self.telegram.calls)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await dispatchers[0].stop_polling()


@pytest.fixture
async def chat(
    server: LocalCyberun, turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Chat]:
    """Have everything but a bot."""
    monkeypatch.setattr("telegram_bot.limiter_of", lambda _: turns)
    async with telegram_local.StandIn(room.Room(interval=1, clock=lambda: turns.now)).serving() as telegram:
        yield Chat(server, telegram, tmp_path, monkeypatch)


async def test_a_command_becomes_a_picture(chat: Chat) -> None:
    """One message tells how far it is, never sooner than Telegram allows, and the picture is sent as a file."""
    chat.server.script("text-to-image", LIFE)
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        for seconds, text in (1, "⏳ running"), (1, text_bar(0.25)), (1, text_bar(0.5)), (1, "✅ Done"):
            await chat.server.clock.advance(seconds)
            message = await chat.says(1, text)

    assert message.texts == ["✏️ Asking …", "⏳ pending", "⏳ running", text_bar(0.25), text_bar(0.5), "✅ Done"]
    assert chat.telegram.room.refusals == 0
    (picture,) = chat.messages[2].files.values()
    async with chat.client() as client:
        (task,) = [task async for task in client.tasks.list()]
        result = await client.tasks.result(task.id)
        assert picture == await client.read_file(result.files[0])
    assert picture.startswith(b"\x89PNG")
    assert await chat.unfinished.all() == []


@pytest.mark.parametrize(
    ("refusal", "holds"),
    [
        pytest.param(
            {"code": 429, "description": "Too Many Requests: retry after 7", "retry_after": 7},
            [7],
            id="too many requests",
        ),
        pytest.param({"code": 502, "description": "Bad Gateway"}, [5], id="a bad gateway"),
        pytest.param(
            {"code": 400, "description": "Bad Request: message is not modified: it is the same"}, [], id="not modified"
        ),
    ],
)
@pytest.mark.parametrize("step", [1, 3], ids=["on the way", "at the end"])
async def test_telegram_says_not_now(
    chat: Chat, refusal: dict[str, Any], holds: list[float], step: int, turns: Turns
) -> None:
    """What Telegram does not take is left out on the way, and said again at the end, after the seconds that it asks for."""
    chat.server.script("text-to-image", LIFE)
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        for number, text in enumerate(["⏳ running", text_bar(0.25), text_bar(0.5), "✅ Done"]):
            if number == step:
                chat.telegram.refuse["editMessageText"] = deque([telegram_local.Refusal(**refusal)])
            await chat.server.clock.advance(1)
            if number == step and number < 3:
                await chat.until(lambda: not chat.telegram.refuse["editMessageText"])
            elif holds or number < 3:
                await chat.says(1, text)
        await chat.forgets()

    assert turns.holds == holds
    assert len(chat.messages[2].files) == 1


async def test_cancel(chat: Chat) -> None:
    """`/cancel` stops what its user has asked for in that chat, and nobody else's."""
    chat.server.script("text-to-image", [after(1), status("running")])
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse", user=1, chat=GROUP)
        await chat.says(1, "⏳ pending")
        chat.telegram.say("/cancel", user=2, chat=GROUP)
        await chat.says(2, "You have asked for nothing here that could be stopped.")
        chat.telegram.say("/cancel", user=1, chat=1)
        await chat.says(3, "You have asked for nothing here that could be stopped.")
        assert chat.count("tasks.cancel") == 0
        chat.telegram.say("/cancel@painter_bot", user=1, chat=GROUP)
        await chat.says(4, "🛑 Stopping …")
        await chat.server.clock.advance(0)
        await chat.says(1, "🛑 Stopped.")
    assert chat.count("tasks.cancel") == 1


async def test_cancel_waits_for_the_submission(chat: Chat) -> None:
    """A task that is just being submitted is stopped, too."""
    chat.server.faults.latency(0.2, on="workflows.run")
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "✏️ Asking …")
        chat.telegram.say("/cancel")
        await chat.says(2, "🛑 Stopping …")
        await chat.server.clock.advance(0)
        await chat.says(1, "🛑 Stopped.")


async def test_a_restart_finds_what_is_unfinished(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    """A bot that is stopped says so, leaves the task running, and goes on in the same message when it is back."""
    chat.server.script("text-to-image", LIFE)
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
    assert chat.messages[1].texts[-1].startswith("⏸")
    assert "takes them up again when it is started: 1" in caplog.text
    async with chat.bot():
        await chat.server.clock.advance(4)
        message = await chat.says(1, "✅ Done")

    assert list(chat.messages) == [1, 2]
    assert message.texts[-1] == "✅ Done"
    assert (chat.count("workflows.run"), chat.count("tasks.cancel"), chat.telegram.room.refusals) == (1, 0, 0)
    assert await chat.unfinished.all() == []


async def test_a_kill_forgets_nothing(chat: Chat) -> None:
    """After a kill, a task that has ended meanwhile has its picture, and of one without an id the user is told."""
    async with chat.client() as client:
        task_id = await client.submit("text-to-image", {"prompt": "a lighthouse"})
    await chat.server.clock.advance(6)
    for chosen in (task_id, None):
        post = chat.telegram.room.post(telegram_local.CHAT, "✏️ Asking …")
        await chat.unfinished.put(
            unfinished.Order(telegram_local.CHAT, 100 + post.id, telegram_local.CHAT, "x", post.id, True, chosen)
        )
    async with chat.bot():
        await chat.says(1, "✅ Done")
        await chat.says(2, "🌧 I was stopped while I asked for this. Ask again if one too many is no harm.")
    assert len(chat.messages[3].files) == 1
    assert await chat.unfinished.all() == []


FAULTS = {
    "a task that fails": ([fail("out of memory")], None, "❌ out of memory"),
    "a task without a reason": ([fail("")], None, "❌ It failed."),
    "a reply that is lost": ([], ("lose_reply", {"on": "workflows.run"}), "painting all the same"),
    "a service that is down": ([], ("status", {"code": 503, "on": "workflows.run"}), "painting all the same"),
    "a key that may not": ([], ("status", {"code": 403, "on": "workflows.run"}), "ask again later"),
    "a request that is refused": ([], ("status", {"code": 400, "on": "workflows.run"}), "🙅 "),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_the_user_is_told(chat: Chat, name: str) -> None:
    """Whatever goes wrong, the last word of the message says so, and nothing is left to be waited for."""
    script, fault, words = FAULTS[name]
    chat.server.script("text-to-image", script)
    if fault:
        getattr(chat.server.faults, fault[0])(**fault[1])
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.server.clock.advance(0)
        await chat.until(lambda: 1 in chat.messages and words in chat.messages[1].texts[-1])
        await chat.forgets()


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 301], ids=["nothing", "blanks", "too much"])
async def test_words_that_are_no_prompt(chat: Chat, prompt: str) -> None:
    """Without words, or with too many, the user is told how to ask, and Cyberun is not asked."""
    async with chat.bot():
        chat.telegram.say(f"/imagine {prompt}")
        await chat.says(1, "🙅 Say in up to 300 characters what to paint: /imagine a lighthouse")
    assert chat.server.requests == ()


async def test_a_parameter_that_does_not_fit(chat: Chat) -> None:
    """What the workflow does not take is told in its own words, and nothing is submitted."""
    parameters = [LocalParameter("prompt", required=True), LocalParameter("licence", required=True)]
    chat.server.workflow("text-to-image", parameters=parameters)(lambda job: b"")
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.until(lambda: 1 in chat.messages and "licence" in chat.messages[1].texts[-1])
    assert chat.count("workflows.run") == 0


async def test_a_new_status_word_is_shown(chat: Chat) -> None:
    """A word that nobody knows yet is a word like others."""
    chat.server.script("text-to-image", [after(1), status("dreaming"), after(1), complete()])
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        for text in ("⏳ dreaming", "✅ Done"):
            await chat.server.clock.advance(1)
            await chat.says(1, text)


async def test_several_at_once(chat: Chat) -> None:
    """Each command has a message of its own, and the fourth of a user waits for one of the others."""
    async with chat.bot():
        for number in range(1, 5):
            chat.telegram.say("/imagine a lighthouse")
            await chat.until(lambda number=number: number in chat.messages)
        await chat.until(lambda: any("at a time" in each.texts[-1] for each in chat.messages.values()))
        chat.telegram.say("/imagine a harbour", user=2)
        await chat.until(lambda: chat.count("workflows.run") == 4)
        await chat.server.clock.advance(6)
        await chat.forgets()
    assert sum(each.texts[-1:] == ["✅ Done"] for each in chat.messages.values()) == 4
    assert sum(bool(each.files) for each in chat.messages.values()) == 4


async def test_a_message_that_is_gone(chat: Chat) -> None:
    """Where nobody sees the message any more, its task is cancelled, and the bot goes on."""
    chat.server.script("text-to-image", LIFE)
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        del chat.messages[1]
        await chat.server.clock.advance(1)
        await chat.forgets()
        chat.telegram.say("/imagine")
        await chat.says(2, "🙅 Say in up to 300 characters what to paint: /imagine a lighthouse")
    assert chat.count("tasks.cancel") == 1


async def test_cyberun_cannot_be_asked(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Cyberun refuses to say how a task ended, the bot says so and asks again; nothing is given up."""
    monkeypatch.setattr("painter.AGAIN", 0.0)
    chat.server.faults.status(403, on="tasks.result")
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        await chat.server.clock.advance(6)
        message = await chat.says(1, "✅ Done")
    assert "🌧 No word from Cyberun. I go on asking." in message.texts


async def test_a_picture_that_is_too_large(chat: Chat) -> None:
    """What Telegram does not take is told."""
    chat.telegram.refuse["sendDocument"] = deque([telegram_local.Refusal(413, "Request Entity Too Large")])
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        await chat.server.clock.advance(6)
        await chat.says(1, "🎨 Done, but it cannot be sent here: it is too large for Telegram")


# What is accepted is answered


async def test_cancel_reaches_what_waits_for_a_turn(chat: Chat, turns: Turns) -> None:
    """An order that has not had a turn yet is cancelled like others, and never submitted; each command is answered."""
    turns.gate = anyio.Event()
    async with chat.bot():
        for number in range(3):
            chat.telegram.say("/imagine a lighthouse")
            await chat.knows(lambda orders, number=number: len(orders) > number)
        chat.telegram.say("/cancel")
        await chat.knows(lambda orders: all(order.is_cancelled for order in orders))
        turns.gate.set()
        await chat.forgets()
        await chat.until(lambda: len(chat.messages) == 4)
    last = sorted(message.texts[-1] for message in chat.messages.values())
    assert last == ["🛑 Stopped."] * 3 + ["🛑 Stopping …"]
    assert (chat.count("workflows.run"), chat.count("tasks.cancel")) == (0, 0)


async def test_a_burst_with_a_cancel(chat: Chat) -> None:
    """Of commands that come all at once, with a command to cancel among them, none is paid for and left running."""
    async with chat.bot():
        for text in ("/imagine a lake", "/imagine a hill", "/cancel", "/imagine a harbour"):
            chat.telegram.say(text)
        await chat.until(lambda: chat.count("workflows.run") > 0 and len(chat.messages) == 4)
        await chat.server.clock.advance(6)
        await chat.forgets()
    ends = sorted(message.texts[-1] for message in chat.messages.values() if message.texts)
    assert ends.count("✅ Done") >= 1
    assert len([end for end in ends if end in {"✅ Done", "🛑 Stopped.", "🛑 Stopping …"}]) == 4
    assert sum(bool(message.files) for message in chat.messages.values()) == ends.count("✅ Done")


async def test_a_clean_stop_loses_no_command(chat: Chat, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted before the stop and had no turn, or only its first, is answered and served after the next start."""
    monkeypatch.setattr("painter.PARTING", 0.1)  # In vain: there are no turns.
    async with chat.bot():
        chat.telegram.say("/imagine a lake", user=1)
        await chat.says(1, "⏳ pending")
        turns.gate = anyio.Event()
        for user in range(2, 9):
            chat.telegram.say("/imagine a lighthouse", user=user)
            await chat.knows(lambda orders, user=user: len(orders) == user)
    turns.gate = None
    async with chat.bot():
        await chat.until(lambda: chat.count("workflows.run") == 8)
        await chat.server.clock.advance(6)
        await chat.forgets()
    assert sum(message.texts[-1:] == ["✅ Done"] for message in chat.messages.values()) == 8
    assert sum(bool(message.files) for message in chat.messages.values()) == 8
    assert chat.count("workflows.run") == 8


async def test_a_stop_before_the_submission(chat: Chat) -> None:
    """An order that was answered and not submitted yet is submitted after the next start, in the same message."""
    post = chat.telegram.room.post(telegram_local.CHAT, "✏️ Asking …")
    await chat.unfinished.put(unfinished.Order(telegram_local.CHAT, 101, telegram_local.CHAT, "a lake", post.id))
    async with chat.bot():
        await chat.says(1, "⏳ pending")
        await chat.server.clock.advance(6)
        await chat.says(1, "✅ Done")
    assert chat.count("workflows.run") == 1


@pytest.mark.parametrize("method", ["sendMessage", "editMessageText", "sendDocument"])
async def test_a_proxy_answers_for_telegram(chat: Chat, turns: Turns, method: str) -> None:
    """A 502 as HTML is a moment without Telegram, in each step, and gives up nothing that was paid for."""
    refusal = telegram_local.Refusal(502, "Bad Gateway")
    refusal.response = telegram_local.web.Response(text="<html>502</html>", content_type="text/html", status=502)
    chat.telegram.refuse[method] = deque([refusal])
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.until(lambda: 1 in chat.messages)
        await chat.until(lambda: chat.count("workflows.run") == 1)
        await chat.server.clock.advance(6)
        await chat.says(1, "✅ Done")
        await chat.forgets()
    assert (turns.holds, chat.count("workflows.run")) == ([5], 1)
    assert [bool(message.files) for message in chat.messages.values()].count(True) == 1


async def test_what_nobody_thought_of(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of any other kind is logged, and the order is taken up again by itself, where it stood."""
    monkeypatch.setattr("painter.FIRST_PAUSE", 0.01)
    edit, failures = telegram_bot.Telegram.edit, [KeyError("first"), ValueError("then")]

    async def fail_twice(self: object, order: object, text: str) -> None:
        if failures:
            raise failures.pop()
        await edit(self, order, text)

    monkeypatch.setattr("telegram_bot.Telegram.edit", fail_twice)
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        await chat.server.clock.advance(6)
        await chat.says(1, "✅ Done")
    assert (chat.count("workflows.run"), caplog.text.count("waits for")) == (1, 2)


async def test_a_picture_is_noted_before_anything_waits(chat: Chat, turns: Turns) -> None:
    """A bot that is stopped between the picture and the last words does not send the picture again."""
    async with chat.bot():
        chat.telegram.say("/imagine a lighthouse")
        await chat.says(1, "⏳ pending")
        await chat.server.clock.advance(6)
        await chat.until(lambda: 2 in chat.messages)
        turns.gate = anyio.Event()
        await chat.knows(lambda orders: [order.sent for order in orders] == [1])
    turns.gate = None
    async with chat.bot():
        await chat.says(1, "✅ Done")
    assert [bool(message.files) for message in chat.messages.values()].count(True) == 1
