"""Try the Telegram bot in a terminal, without an account: `python docs/examples/bots/telegram_local.py`.

The bot talks HTTP to a stand-in of Telegram's Bot API, and to a local Cyberun.
Of the API (https://core.telegram.org/bots/api) there is what the bot needs.
"""

import argparse
import asyncio
import logging
import math
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from room import Room, Shown, serving, show_in, typed_commands
from telegram_bot import run

from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun

TOKEN = "1:stand-in"
CHAT = 1001


class Refusal(Exception):
    """What the API answers instead of a result."""

    def __init__(self, code: int, description: str, **parameters: float) -> None:
        """Keep what goes into the answer."""
        super().__init__(description)
        body = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
        self.response = web.json_response(body, status=code)


class StandIn:
    """Telegram, as a bot sees it.

    Attributes:
        room: What the bot has said.
        calls: The names of the methods that were called.
        refuse: What the next calls of a method are answered with.

    """

    def __init__(self, room: Room) -> None:
        """Know nobody yet."""
        self.room = room
        self.calls: list[str] = []
        self.refuse: dict[str, deque[Refusal]] = {}
        self.address = ""
        self._updates: list[dict[str, Any]] = []
        self._ids = count(1)
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["StandIn"]:
        """Serve it on loopback."""
        app = web.Application(client_max_size=50 << 20)
        app.router.add_post(f"/bot{TOKEN}/{{method}}", self._answer)
        async with serving(app) as self.address:
            yield self

    def bot(self) -> Bot:
        """Give a bot that talks to it."""
        return Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(self.address)))

    def say(self, text: str, user: int = CHAT, chat: int = CHAT) -> None:
        """Have a person say something."""
        number = next(self._ids)
        message = {
            "message_id": number,
            "date": 0,
            "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"},
            "from": {"id": user, "is_bot": False, "first_name": "You"},
            "text": text,
        }
        self._updates.append({"update_id": number, "message": message})
        self._arrived.set()

    async def _answer(self, request: web.Request) -> web.Response:
        method, fields = request.match_info["method"], await request.post()
        self.calls.append(method)
        self.room.wake()
        try:
            if refusals := self.refuse.get(method):
                raise refusals.popleft()
            result = await self._call(method, dict(fields))
        except Refusal as refusal:
            return refusal.response
        return web.json_response({"ok": True, "result": result})

    async def _call(self, method: str, fields: dict[str, Any]) -> Any:
        match method:
            case "getMe":
                return {"id": 1, "is_bot": True, "first_name": "Painter", "username": "painter_bot"}
            case "getUpdates":
                return await self._wait(int(fields.get("offset", 0)), float(fields.get("timeout", 0)))
            case "deleteWebhook" | "setMyCommands":
                return True
            case "sendMessage" | "sendDocument" | "sendPhoto" | "editMessageText":
                return self._show(method, fields)
        raise Refusal(404, "Not Found: method not found")

    async def _wait(self, offset: int, timeout: float) -> list[dict[str, Any]]:
        """Give what is new; what is below the offset has arrived, and is forgotten."""
        self._updates = [update for update in self._updates if update["update_id"] >= offset]
        if not self._updates:
            self._arrived.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), timeout)
        return self._updates

    def _show(self, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        chat = int(fields["chat_id"])
        if seconds := self.room.must_wait(chat):
            seconds = math.ceil(seconds)
            raise Refusal(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        if method == "editMessageText":
            return self._as_message(self._edit(int(fields["message_id"]), fields["text"]))
        kind = method.removeprefix("send").lower()
        if kind == "message":
            return self._as_message(self.room.post(chat, fields["text"]))
        file = fields[fields[kind].removeprefix("attach://")]
        return self._as_message(self.room.post(chat, files={file.filename: file.file.read()}))

    def _edit(self, message: int, text: str) -> Shown:
        if message not in self.room.messages:
            raise Refusal(400, "Bad Request: message to edit not found")
        if self.room.messages[message].texts[-1:] == [text]:
            raise Refusal(400, "Bad Request: message is not modified")
        return self.room.edit(message, text)

    @staticmethod
    def _as_message(shown: Shown) -> dict[str, Any]:
        chat = {"id": shown.chat, "type": "private" if shown.chat > 0 else "supergroup"}
        return {"message_id": shown.id, "date": 0, "chat": chat, "text": "".join(shown.texts[-1:])}


async def main(pace: float) -> None:
    """Run the bot, and all that it needs, until Ctrl-C."""
    with tempfile.TemporaryDirectory() as directory:
        async with LocalCyberun(pace=pace) as cyberun, StandIn(Room()).serving() as telegram:
            telegram.room.on_change = show_in(Path())
            typing = asyncio.create_task(type_into(telegram))
            client = AsyncClient(cyberun.api_key, base_url=cyberun.base_url)
            await run(telegram.bot(), client, Path(directory, "telegram.db"))
            typing.cancel()


async def type_into(telegram: StandIn) -> None:
    """Say what is typed."""
    async for line in typed_commands():
        telegram.say(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace", type=float, default=1.0, help="seconds that a second of a task's life takes")
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("aiogram.dispatcher").setLevel(logging.ERROR)  # It warns that there was a Ctrl-C.
    with suppress(KeyboardInterrupt):
        asyncio.run(main(**vars(parser.parse_args())))
