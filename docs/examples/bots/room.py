"""A room with a bot and one person at a terminal: what the stand-ins of Telegram and Discord have in common."""

import asyncio
import io
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from aiohttp import web

COMMANDS = ("/imagine", "/cancel")
HELP = "Type /imagine and what to paint, or /cancel; Ctrl-C ends it."


@dataclass
class Shown:
    """A message of the bot, as people see it.

    Attributes:
        id: Its number.
        chat: Where it is.
        texts: What it has said, the latest last.
        files: What is attached to it.

    """

    id: int
    chat: int
    texts: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


class Room:
    """The messages of a bot, of which a platform allows one in `interval` seconds for each chat."""

    def __init__(self, interval: float = 0.9, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any."""
        self.messages: dict[int, Shown] = {}
        self.on_change: Callable[[Shown], None] = lambda _: None
        self.refusals = 0
        self._interval = interval
        self._clock = clock
        self._not_before: dict[int, float] = {}
        self._ids = count(1)
        self._changed = asyncio.Event()

    def must_wait(self, chat: int) -> float:
        """Give the seconds until something may be done in a chat; where they are none, it counts as done now."""
        now = self._clock()
        left = self._not_before.get(chat, now) - now
        if left > 0:
            self.refusals += 1
        else:
            self._not_before[chat] = now + self._interval
        return max(left, 0)

    def post(self, chat: int, text: str = "", files: dict[str, bytes] | None = None) -> Shown:
        """Take in a new message."""
        shown = Shown(next(self._ids), chat, [text] if text else [], files or {})
        self.messages[shown.id] = shown
        self._tell(shown)
        return shown

    def edit(self, message: int, text: str) -> Shown:
        """Have a message say something else."""
        shown = self.messages[message]
        shown.texts.append(text)
        self._tell(shown)
        return shown

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for what is to be seen."""
        while not holds():
            await self._changed.wait()

    def wake(self) -> None:
        """Have those look again who wait until something is to be seen."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _tell(self, shown: Shown) -> None:
        self.on_change(shown)
        self.wake()


def show_in(directory: Path) -> Callable[[Shown], None]:
    """Print messages as they change, and put their files into a directory."""

    def show(shown: Shown) -> None:
        for name, data in shown.files.items():
            path = directory / f"{shown.id}-{Path(name).name}"
            path.write_bytes(data)
            print(f"[{shown.id}] 🖼  {path}", flush=True)
        if shown.texts:
            print(f"[{shown.id}] {shown.texts[-1]}", flush=True)

    return show


async def typed_commands() -> AsyncIterator[str]:
    """Give the commands that are typed, until Ctrl-C, and say at anything else what they are."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        # Without a buffer, whose lock the end of the program would wait for.
        with suppress(RuntimeError):
            for line in io.FileIO(sys.stdin.fileno(), closefd=False):
                loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace").strip())

    threading.Thread(target=read, daemon=True).start()
    print(HELP, flush=True)
    while True:
        line = await lines.get()
        if line.partition(" ")[0] in COMMANDS:
            yield line
        elif line:
            print(HELP, flush=True)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a port of its own, and give its address."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()
