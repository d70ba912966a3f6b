"""A Discord bot that paints: `DISCORD_TOKEN=... CYBERUN_API_KEY=... python discord_bot.py`."""

import asyncio
import io
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import discord
from discord import app_commands
from painter import ASKING, MAX_PROMPT, Painter, Refused, TryAgain
from unfinished import Order, Unfinished

from cyberun_async import AsyncClient, RateLimiter


def limiter_of(_channel: int) -> RateLimiter:
    """Give what Discord allows: about five messages or edits in five seconds; discord.py sees to the finer points."""
    return RateLimiter(1.0)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Tell the painter what Discord's errors mean to it; discord.py itself waits where Discord says 429."""
    try:
        yield
    except (discord.DiscordServerError, aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
        raise TryAgain(5) from error
    except discord.HTTPException as error:
        if error.status == 429:
            raise TryAgain(60) from error
        why = "it is too large for this place" if error.status == 413 else error.text
        raise Refused(why) from error


class Discord:
    """The channels of Discord, in which numbers are enough to find a message again.

    A reply is edited as a message of its channel, and not by the token of its command, which is valid for 15 minutes.
    """

    def __init__(self, bot: discord.Client) -> None:
        """Send nothing yet."""
        self._bot = bot

    def _message_of(self, order: Order) -> discord.PartialMessage:
        return self._bot.get_partial_messageable(order.chat).get_partial_message(order.message or 0)

    async def send(self, order: Order, text: str) -> int:
        """Reply to a command that had no reply when the bot stopped."""
        with in_our_words():
            channel = self._bot.get_partial_messageable(order.chat)
            return (await channel.send(f"<@{order.user}> {text}")).id

    async def edit(self, order: Order, text: str) -> None:
        """Edit the reply."""
        with in_our_words():
            await self._message_of(order).edit(content=discord.utils.escape_markdown(text))

    async def send_file(self, order: Order, name: str, data: bytes) -> None:
        """Answer it with a file."""
        answer = self._message_of(order)
        with in_our_words():
            file = discord.File(io.BytesIO(data), name)
            await answer.channel.send(file=file, reference=answer.to_reference(fail_if_not_exists=False))


class PaintingBot(discord.Client):
    """The client of Discord, with its commands and its painter."""

    def __init__(self, client: AsyncClient, database: Path) -> None:
        """Connect to nothing yet."""
        # What others wrote, such as the reason of a failure, must not call everyone.
        super().__init__(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
        self.painter = Painter(client, Unfinished(database), Discord(self), limiter_of)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(imagine)
        self.tree.add_command(cancel)

    async def setup_hook(self) -> None:
        """Tell Discord the commands, and go on with what is unfinished."""
        await self.tree.sync()
        await self.painter.resume()


@app_commands.command()
@app_commands.describe(prompt="what you want to see")
async def imagine(
    interaction: discord.Interaction[PaintingBot], prompt: app_commands.Range[str, 1, MAX_PROMPT]
) -> None:
    """Paint a picture from a prompt."""
    if interaction.channel_id is None:
        return
    painter = interaction.client.painter
    order = Order(interaction.channel_id, interaction.id, interaction.user.id, prompt.strip())
    # Saved first: if the bot is stopped before it has replied, the next start does.
    await painter.note(order)
    # Discord allows three seconds for a reply, which takes no slot of the channel. After that it accepts none, and the
    # painter sends a message: the order must not wait for the next start, and be painted then.
    with suppress(TryAgain, Refused), in_our_words():
        answer = await interaction.response.send_message(ASKING)
        order = replace(order, message=answer.message_id)
    await painter.accept(order)


@app_commands.command()
async def cancel(interaction: discord.Interaction[PaintingBot]) -> None:
    """Stop your pictures in this channel."""
    await interaction.response.defer(ephemeral=True)
    text = await interaction.client.painter.cancel(interaction.user.id, interaction.channel_id or 0)
    await interaction.edit_original_response(content=text)


async def run(bot: PaintingBot, client: AsyncClient, token: str) -> None:
    """Serve until Ctrl-C."""
    async with client, bot, bot.painter:
        await bot.start(token)


def run_until_stopped(program: Coroutine[Any, Any, None]) -> None:
    """Run a program until Ctrl-C or the system's SIGTERM, either of which cancels it alone.

    Left to itself, asyncio takes SIGTERM for a kill, and before Python 3.11 Ctrl-C cancels every task at once.
    """

    async def main() -> None:
        task = asyncio.ensure_future(program)
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows has no such handlers.
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await task

    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main())


if __name__ == "__main__":
    discord.utils.setup_logging()
    cyberun = AsyncClient()
    run_until_stopped(run(PaintingBot(cyberun, Path("discord.db")), cyberun, os.environ["DISCORD_TOKEN"]))
