"""The Discord bot, whole: discord.py over HTTP and a WebSocket to a stand-in of Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from bots.conftest import LIFE, Place, Turns
from support.lazily import Lazily

from cyberun_async import text_bar
from cyberun_async.local import LocalCyberun
from cyberun_async.local.scripts import after, complete, fail, status

if TYPE_CHECKING:
    from discord_local import StandIn

# discord.py is made for asyncio.
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

discord_bot, discord_local, room, unfinished = map(Lazily, ("discord_bot", "discord_local", "room", "unfinished"))


class Channel(Place):
    """A channel with a person in it, with Discord at the other end."""

    def __init__(self, server: LocalCyberun, discord: StandIn, directory: Path) -> None:
        """Start no bot yet."""
        super().__init__(server, discord.room, directory)
        self.discord = discord

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[None]:
        """Run the bot, and stop it as Ctrl-C does: asyncio cancels the program's task, once."""
        client = self.client()
        bot = discord_bot.PaintingBot(client, self.database)
        # Discord says a little later which servers the bot is on; here there are none, and two seconds to wait for them.
        bot._connection.guild_ready_timeout = 0
        self.discord.ready.clear()
        before = asyncio.all_tasks()
        running = asyncio.create_task(discord_bot.run(bot, client, discord_local.TOKEN))
        try:
            with anyio.fail_after(20):
                await self.discord.ready.wait()
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            # The other ends of its connections are in this loop, too, and notice a little later.
            if left := asyncio.all_tasks() - before:
                await asyncio.wait(left, timeout=20)


@pytest.fixture
async def channel(
    server: LocalCyberun, turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Channel]:
    """Have everything but a bot."""
    monkeypatch.setattr("discord_bot.limiter_of", lambda _: turns)
    async with discord_local.StandIn(room.Room(interval=1, clock=lambda: turns.now)).serving() as discord:
        yield Channel(server, discord, tmp_path)


async def test_a_command_becomes_a_picture(channel: Channel) -> None:
    """One message tells how far it is, never sooner than allowed, and the picture is sent as a file."""
    channel.server.script("text-to-image", LIFE)
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
        for text in ("⏳ running", text_bar(0.25), text_bar(0.5), "✅ Done"):
            await channel.server.clock.advance(1)
            message = await channel.says(1, text)

    assert message.texts == ["✏️ Asking …", "⏳ pending", "⏳ running", text_bar(0.25), text_bar(0.5), "✅ Done"]
    assert (channel.discord.commands, channel.discord.room.refusals) == (["imagine", "cancel"], 0)
    ((name, picture),) = channel.messages[2].files.items()
    assert (Path(name).suffix, picture[:4]) == (".png", b"\x89PNG")


async def test_cancel(channel: Channel) -> None:
    """`/cancel` stops what its user has asked for in that channel, and nobody else's."""
    channel.server.script("text-to-image", [after(1), status("running")])
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
        await channel.discord.say("/cancel", user=2)
        await channel.says(2, "You have asked for nothing here that could be stopped.")
        assert channel.count("tasks.cancel") == 0
        await channel.discord.say("/cancel")
        await channel.says(3, "🛑 Stopping …")
        await channel.server.clock.advance(0)
        await channel.says(1, "🛑 Stopped.")
    assert channel.count("tasks.cancel") == 1


async def test_a_restart_finds_what_is_unfinished(channel: Channel) -> None:
    """A bot that is stopped says so, leaves the task running, and goes on in the same message when it is back."""
    channel.server.script("text-to-image", LIFE)
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
    assert channel.messages[1].texts[-1].startswith("⏸")
    async with channel.bot():
        await channel.server.clock.advance(4)
        message = await channel.says(1, "✅ Done")

    assert (list(channel.messages), message.texts[-1]) == ([1, 2], "✅ Done")
    assert (channel.count("workflows.run"), channel.count("tasks.cancel")) == (1, 0)


async def test_a_kill_forgets_nothing(channel: Channel) -> None:
    """After a kill, of a submission whose answer was never seen the user is told."""
    post = channel.discord.room.post(discord_local.CHANNEL, "✏️ Asking …")
    await channel.unfinished.put(
        unfinished.Order(discord_local.CHANNEL, 100 + post.id, discord_local.YOU, "x", post.id, is_asked=True)
    )
    async with channel.bot():
        await channel.says(1, "🌧 I was stopped while I asked for this. Ask again if one too many is no harm.")


async def test_a_failure_is_told(channel: Channel) -> None:
    """The reason is shown as it is: its stars are no markup, and its `@everyone` calls nobody."""
    channel.server.script("text-to-image", [fail("@everyone *out of memory*")])
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, r"❌ @everyone \*out of memory\*")
    assert channel.discord.mentions == [[]]


async def test_blanks_are_no_prompt(channel: Channel) -> None:
    """Discord itself refuses what is empty or too long; for what is only blank, the user is told how to ask."""
    async with channel.bot():
        await channel.discord.say("/imagine    ")
        await channel.says(1, "🙅 Say in up to 300 characters what to paint: /imagine a lighthouse")
    assert channel.server.requests == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(413, "🎨 Done, but it cannot be sent here: it is too large for this place", id="too large"),
        pytest.param(403, "🎨 Done, but it cannot be sent here: no files here", id="not allowed"),
    ],
)
async def test_a_picture_that_cannot_be_sent(channel: Channel, code: int, words: str) -> None:
    """What Discord does not take is told."""
    channel.server.script("text-to-image", [after(1), complete()])
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
        channel.discord.refuse.append((code, "no files here"))
        await channel.server.clock.advance(1)
        await channel.says(1, words)


@pytest.mark.parametrize(
    ("code", "holds", "cancels"),
    [
        pytest.param(503, [5], 0, id="not available for a moment"),
        pytest.param(404, [], 1, id="deleted"),
    ],
)
async def test_a_message_that_cannot_be_edited(
    channel: Channel, turns: Turns, code: int, holds: list[float], cancels: int
) -> None:
    """Where Discord is not there for a moment, the next event is told; where the message is gone, the task is cancelled."""
    channel.server.script("text-to-image", LIFE)
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
        channel.discord.refuse.append((code, "no"))
        await channel.server.clock.advance(1)
        await channel.until(lambda: not channel.discord.refuse)
        await channel.server.clock.advance(3)
        await channel.forgets()
    assert (turns.holds, channel.count("tasks.cancel")) == (holds, cancels)


async def test_cancel_reaches_all_orders(channel: Channel) -> None:
    """Orders that wait behind a submission are cancelled with it, and what was submitted is cancelled at Cyberun."""
    channel.server.faults.latency(0.3, on="workflows.run")
    async with channel.bot():
        for _ in range(3):
            await channel.discord.say("/imagine a lighthouse")
        await channel.until(lambda: len(channel.messages) == 3)
        await channel.discord.say("/cancel")
        await channel.says(4, "🛑 Stopping …")
        await channel.server.clock.advance(0)
        await channel.forgets()
    assert channel.count("workflows.run") == channel.count("tasks.cancel")
    assert [channel.messages[number].texts[-1] for number in (1, 2, 3)] == ["🛑 Stopped."] * 3


async def test_a_command_that_was_not_answered(channel: Channel) -> None:
    """Where the bot was stopped before its answer, it answers after the next start, by a message of its own."""
    await channel.unfinished.put(unfinished.Order(discord_local.CHANNEL, 101, discord_local.YOU, "a lighthouse"))
    async with channel.bot():
        await channel.until(lambda: 1 in channel.messages)
        assert channel.messages[1].texts[0] == f"<@{discord_local.YOU}> ✏️ Asking …"
        await channel.until(lambda: channel.count("workflows.run") == 1)
        await channel.server.clock.advance(6)
        await channel.says(1, "✅ Done")


async def test_an_answer_that_comes_too_late(channel: Channel) -> None:
    """A command whose answer Discord no longer takes is answered by a message, and served now, not at the next start."""
    channel.discord.is_late = True
    async with channel.bot():
        await channel.discord.say("/imagine a lighthouse")
        await channel.says(1, "⏳ pending")
    assert channel.messages[1].texts[0] == f"<@{discord_local.YOU}> ✏️ Asking …"
    assert channel.count("workflows.run") == 1
