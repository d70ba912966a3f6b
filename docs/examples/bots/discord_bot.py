"""A Discord bot that paints: `DISCORD_TOKEN=... CYBERUN_API_KEY=... python discord_bot.py`."""

import asyncio
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import aiohttp
import discord
from discord import app_commands
from painter import MAX_PROMPT, Painter, Refused, TryAgain
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


class Post:
    """A message of the bot's own, which its id is enough to find.

    It is edited as a message of its channel, and not by the token of the interaction, which is good for 15 minutes.
    """

    def __init__(self, bot: discord.Client, order: Order) -> None:
        """Send nothing yet."""
        self._channel = bot.get_partial_messageable(order.chat)
        self._message = self._channel.get_partial_message(order.message)

    async def edit(self, text: str) -> None:
        """Make it say something else."""
        with in_our_words():
            await self._message.edit(content=discord.utils.escape_markdown(text))

    async def send_file(self, name: str, data: bytes) -> None:
        """Answer it with a file."""
        reply_to = self._message.to_reference(fail_if_not_exists=False)
        with in_our_words():
            await self._channel.send(file=discord.File(io.BytesIO(data), name), reference=reply_to)


class PaintingBot(discord.Client):
    """The client of Discord, with its commands and its painter."""

    def __init__(self, client: AsyncClient, database: Path) -> None:
        """Connect to nothing yet."""
        # What others wrote, such as the reason of a failure, must not call everyone.
        super().__init__(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
        self.painter = Painter(client, Unfinished(database), partial(Post, self), limiter_of)
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
    """Paint a picture from words."""
    # Discord gives three seconds for an answer, and an answer takes no turn of the channel.
    answer = await interaction.response.send_message("✏️ Asking …")
    if interaction.channel_id is not None and answer.message_id is not None:
        order = Order(interaction.channel_id, answer.message_id, interaction.user.id)
        interaction.client.painter.accept(order, prompt)


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


if __name__ == "__main__":
    discord.utils.setup_logging()
    cyberun = AsyncClient()
    with suppress(KeyboardInterrupt):
        asyncio.run(run(PaintingBot(cyberun, Path("discord.db")), cyberun, os.environ["DISCORD_TOKEN"]))
