"""A Telegram bot that paints: `TELEGRAM_TOKEN=... CYBERUN_API_KEY=... python telegram_bot.py`."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.filters import Command, CommandObject
from aiogram.types import BotCommand, BufferedInputFile, Message, ReplyParameters, User
from painter import Painter, Refused, TryAgain
from unfinished import Order, Unfinished

from cyberun_async import AsyncClient, RateLimiter

COMMANDS = {"imagine": "paint a picture from words", "cancel": "stop your pictures in this chat"}


def limiter_of(chat: int) -> RateLimiter:
    """Give what Telegram allows: a message a second, and in a group, whose id is below zero, 20 a minute."""
    return RateLimiter(1.0 if chat > 0 else 3.0)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Tell the painter what Telegram's errors mean to it."""
    try:
        yield
    except TelegramRetryAfter as error:
        raise TryAgain(error.retry_after) from error
    except TelegramEntityTooLarge as error:
        raise Refused("it is too large for Telegram") from error
    except (TelegramNetworkError, TelegramServerError, ClientDecodeError) as error:
        # What cannot be decoded is the page of a proxy that does not reach Telegram.
        raise TryAgain(5) from error
    except (TelegramBadRequest, TelegramForbiddenError, TelegramMigrateToChat) as error:
        # After a restart a message may say already what it is to say.
        if "message is not modified" not in error.message:
            raise Refused(error.message) from error


class Telegram:
    """The chats of Telegram, in which numbers are enough to find a message again."""

    def __init__(self, bot: Bot) -> None:
        """Send nothing yet."""
        self._bot = bot

    async def send(self, order: Order, text: str) -> int:
        """Reply to a command, and return the id of the reply."""
        with in_our_words():
            return (await self._bot.send_message(order.chat, text, reply_parameters=reply_to(order.command))).message_id

    async def edit(self, order: Order, text: str) -> None:
        """Edit the reply."""
        with in_our_words():
            await self._bot.edit_message_text(text, chat_id=order.chat, message_id=order.message)

    async def send_file(self, order: Order, name: str, data: bytes) -> None:
        """Answer it with a file; what is sent as a photo arrives smaller, and worse."""
        with in_our_words():
            file = BufferedInputFile(data, name)
            await self._bot.send_document(order.chat, file, reply_parameters=reply_to(order.message or order.command))


def reply_to(message: int) -> ReplyParameters:
    """Answer a message, or say it all the same where that is gone."""
    return ReplyParameters(message_id=message, allow_sending_without_reply=True)


async def imagine(message: Message, command: CommandObject, event_from_user: User, painter: Painter) -> None:
    """Paint the prompt."""
    await painter.accept(Order(message.chat.id, message.message_id, event_from_user.id, (command.args or "").strip()))


async def cancel(message: Message, event_from_user: User, painter: Painter) -> None:
    """Stop what this user has asked for in this chat."""
    text = await painter.cancel(event_from_user.id, message.chat.id)

    async def answer() -> None:
        with in_our_words():
            await message.reply(text)

    with suppress(Refused):  # Then there is no message to edit.
        await painter.say(message.chat.id, answer)


async def start(bot: Bot, painter: Painter) -> None:
    """Listen from now on, and go on with what is unfinished."""
    await bot.delete_webhook()
    await bot.set_my_commands([BotCommand(command=name, description=text) for name, text in COMMANDS.items()])
    await painter.resume()


def make_dispatcher(painter: Painter) -> Dispatcher:
    """Say what is done when."""
    dispatcher = Dispatcher(painter=painter)
    dispatcher.startup.register(start)
    dispatcher.message.register(imagine, Command("imagine"))
    dispatcher.message.register(cancel, Command("cancel"))
    return dispatcher


async def run(bot: Bot, client: AsyncClient, database: Path) -> None:
    """Serve until Ctrl-C."""
    async with client, bot, Painter(client, Unfinished(database), Telegram(bot), limiter_of) as painter:
        # The session stays open for the painter's last messages.
        await make_dispatcher(painter).start_polling(bot, close_bot_session=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(run(Bot(os.environ["TELEGRAM_TOKEN"]), AsyncClient(), Path("telegram.db")))
