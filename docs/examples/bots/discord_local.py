"""Try the Discord bot in a terminal, without an account: `python docs/examples/bots/discord_local.py`.

The bot talks HTTP and a WebSocket to a stand-in of Discord, and HTTP to a local Cyberun.
Of Discord's API (https://discord.com/developers/docs) there is what the bot needs.
"""

import argparse
import asyncio
import json
import logging
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket
from discord.http import Route
from discord_bot import MAX_PROMPT, PaintingBot, run, run_until_stopped
from room import Room, Shown, serving, show_in, typed_commands

from cyberun_async import AsyncClient
from cyberun_async.local import LocalCyberun

TOKEN = "stand-in"
CHANNEL = 2001
YOU = 1001
MESSAGE = 4
"""An answer to a command that is a message."""
BOT = {"id": "1", "username": "painter", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": "1",
    "name": "painter",
    "description": "",
    "icon": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "flags": 0,
    "owner": BOT,
}


class StandIn:
    """Discord, as a bot sees it.

    Attributes:
        room: What the bot has said in its channels.
        commands: The commands that it has.
        ready: Whether it listens.
        mentions: Whom the edits may call, one by one.
        refuse: Status and message that the next messages and edits are answered with.
        is_late: Whether answers to commands come too late.

    """

    def __init__(self, room: Room) -> None:
        """Know nobody yet."""
        self.room = room
        self.commands: list[str] = []
        self.mentions: list[list[str]] = []
        self.refuse: deque[tuple[int, str]] = deque()
        self.is_late = False
        self._socket: web.WebSocketResponse | None = None
        self.ready = asyncio.Event()
        self._address = ""
        self._ids = count(1)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["StandIn"]:
        """Serve it on loopback, and have discord.py look for Discord there."""
        app = web.Application(client_max_size=10 << 20)
        app.add_routes(
            [
                web.get("/gateway", self._gateway),
                web.get("/users/@me", self._give(BOT)),
                web.get("/oauth2/applications/@me", self._give(APPLICATION)),
                web.put("/applications/1/commands", self._take_commands),
                web.post("/interactions/{id}/{token}/callback", self._answer),
                web.patch("/webhooks/1/{token}/messages/@original", self._whisper),
                web.post("/channels/{channel}/messages", self._post),
                web.patch("/channels/{channel}/messages/{message}", self._edit),
            ]
        )
        real = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
        async with serving(app) as self._address:
            Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = self._address, yarl.URL(f"{self._address}/gateway")
            try:
                yield self
            finally:
                Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = real

    async def say(self, text: str, user: int = YOU, channel: int = CHANNEL) -> None:
        """Have a person give a command."""
        await self.ready.wait()
        await self._send("INTERACTION_CREATE", as_interaction(next(self._ids), text, user, channel))

    async def _send(self, event: str, data: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send_json({"op": 0, "t": event, "s": next(self._ids), "d": data})

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = web.WebSocketResponse()
        await self._socket.prepare(request)
        await self._socket.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for message in self._socket:
            match message.json()["op"]:
                case 1:
                    await self._socket.send_json({"op": 11})
                case 2:
                    ready = {"v": 10, "user": BOT, "guilds": [], "session_id": "1", "application": APPLICATION}
                    await self._send("READY", {**ready, "resume_gateway_url": f"{self._address}/gateway"})
                    self.ready.set()
        self.ready.clear()
        return self._socket

    @staticmethod
    def _give(body: Any) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return as_json(body)

        return answer

    async def _take_commands(self, request: web.Request) -> web.Response:
        commands = await request.json()
        self.commands = [command["name"] for command in commands]
        return as_json([{**each, "id": str(next(self._ids)), "application_id": "1"} for each in commands])

    async def _answer(self, request: web.Request) -> web.Response:
        """Take in the answer to a command, which is allowed at any time."""
        answer = await request.json()
        if self.is_late:
            return as_json({"code": 10062, "message": "Unknown interaction"}, status=404)
        about: dict[str, Any] = {"interaction": {"id": request.match_info["id"], "type": 2}}
        if answer["type"] == MESSAGE:
            channel = int(request.match_info["token"])
            shown = self.room.post(channel, answer["data"]["content"])
            about["interaction"]["response_message_id"] = str(shown.id)
            about["resource"] = {"type": MESSAGE, "message": as_message(shown)}
        return as_json(about)

    async def _whisper(self, request: web.Request) -> web.Response:
        shown = self.room.post(YOU, (await request.json())["content"])
        return as_json(as_message(shown))

    async def _post(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            text = (await request.json())["content"]
            return self._in_turn(request, lambda channel: self.room.post(channel, text))
        file = (await request.post())["files[0]"]
        assert isinstance(file, web.FileField)
        files = {file.filename: file.file.read()}
        return self._in_turn(request, lambda channel: self.room.post(channel, files=files))

    async def _edit(self, request: web.Request) -> web.Response:
        fields = await request.json()
        text, self.mentions = fields["content"], [*self.mentions, fields["allowed_mentions"]["parse"]]
        return self._in_turn(request, lambda _: self.room.edit(int(request.match_info["message"]), text))

    def _in_turn(self, request: web.Request, act: Callable[[int], Shown]) -> web.Response:
        """Do what counts for the limit of a channel."""
        channel = int(request.match_info["channel"])
        if self.refuse:
            status, message = self.refuse.popleft()
            self.room.wake()
            return as_json({"code": 0, "message": message}, status=status)
        if seconds := self.room.must_wait(channel):
            body = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
            return as_json(body, status=429, headers={"Via": "1.1 stand-in"})
        return as_json(as_message(act(channel)))


def as_json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with JSON, and say so without a charset, which discord.py does not expect."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


def as_message(shown: Shown) -> dict[str, Any]:
    """Write a message as Discord does."""
    empty: list[Any] = []
    return {
        "id": str(shown.id),
        "channel_id": str(shown.chat),
        "type": 0,
        "author": BOT,
        "content": "".join(shown.texts[-1:]),
        "timestamp": "2020-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "pinned": False,
        **dict.fromkeys(("mentions", "mention_roles", "attachments", "embeds"), empty),
    }


def as_interaction(number: int, text: str, user: int, channel: int) -> dict[str, Any]:
    """Write a command as the gateway does."""
    name, _, value = text.removeprefix("/").partition(" ")
    options = [{"name": "prompt", "type": 3, "value": value}] if value else []
    return {
        "id": str(number),
        "application_id": "1",
        "type": 2,
        "version": 1,
        # The token is the stand-in's own matter: so it says where the answer belongs.
        "token": str(channel),
        "channel_id": str(channel),
        "channel": {"id": str(channel), "type": 1, "recipients": []},
        "user": {"id": str(user), "username": "you", "discriminator": "0", "avatar": None},
        "data": {"id": "1", "name": name, "type": 1, "options": options},
        "attachment_size_limit": 10 << 20,
    }


async def main(pace: float) -> None:
    """Run the bot, and all that it needs, until Ctrl-C."""
    with tempfile.TemporaryDirectory() as directory:
        async with LocalCyberun(pace=pace) as cyberun, StandIn(Room()).serving() as discord:
            discord.room.on_change = show_in(Path())
            client = AsyncClient(cyberun.api_key, base_url=cyberun.base_url)
            typing = asyncio.create_task(type_into(discord))
            try:
                await run(PaintingBot(client, Path(directory, "discord.db")), client, TOKEN)
            finally:
                typing.cancel()


async def type_into(discord: StandIn) -> None:
    """Say what is typed."""
    async for line in typed_commands():
        name, _, prompt = line.partition(" ")
        if name == "/imagine" and not 0 < len(prompt) <= MAX_PROMPT:
            print(f"Discord sends this with 1 to {MAX_PROMPT} characters only: /imagine a lighthouse", flush=True)
        else:
            await discord.say(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace", type=float, default=1.0, help="seconds that a second of a task's life takes")
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("discord.client").setLevel(logging.ERROR)  # It warns that there is no voice.
    run_until_stopped(main(**vars(parser.parse_args())))
