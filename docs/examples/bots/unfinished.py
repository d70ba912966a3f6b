"""What a bot has promised, on the disk: a restart finds each order again, and how far it had come."""

import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import anyio
import anyio.to_thread


@dataclass(frozen=True)
class Order:
    """A command that the bot has accepted, and what has become of it so far.

    Attributes:
        chat: Where it was given.
        command: What it is known by there.
        user: Who gave it.
        prompt: What to paint.
        message: The bot's own message about it, once there is one.
        is_asked: Whether it was sent to Cyberun, so that there may be a task.
        task_id: The task, once Cyberun has said its id.
        is_cancelled: Whether its user wants it no more.
        sent: How many of its files have been sent.

    """

    chat: int
    command: int
    user: int
    prompt: str
    message: int | None = None
    is_asked: bool = False
    task_id: str | None = None
    is_cancelled: bool = False
    sent: int = 0


COLUMNS = ", ".join(field.name for field in fields(Order))
CREATE = f"CREATE TABLE IF NOT EXISTS accepted ({COLUMNS}, UNIQUE(chat, command))"
# What was noted stays noted: a command to cancel may come while another part of an order is written down.
PUT = f"""
INSERT INTO accepted ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(chat, command) DO UPDATE SET
message = coalesce(excluded.message, message), task_id = coalesce(excluded.task_id, task_id),
is_asked = max(excluded.is_asked, is_asked), is_cancelled = max(excluded.is_cancelled, is_cancelled),
sent = max(excluded.sent, sent)
"""


class Unfinished:
    """The orders whose end has not been reported yet."""

    def __init__(self, path: Path) -> None:
        """Make the table where there is none."""
        self._path = path
        # What is asked first is written first, so that a command to cancel finds the orders before it.
        self._in_turn = anyio.CapacityLimiter(1)
        self._run(CREATE)

    def _run(self, statement: str, *values: str | int | None) -> list[Order]:
        with closing(sqlite3.connect(self._path)) as database, database:
            rows = database.execute(statement, values).fetchall()
        return [Order(*row[:5], bool(row[5]), row[6], bool(row[7]), row[8]) for row in rows]

    async def _ask(self, statement: str, *values: str | int | None) -> list[Order]:
        # The disk may be slow, and the event loop is everybody's.
        return await anyio.to_thread.run_sync(self._run, statement, *values, limiter=self._in_turn)

    async def put(self, order: Order) -> Order:
        """Write down an order, or what is new about it, and give all that is known of it."""
        with anyio.CancelScope(shield=True):
            await self._ask(PUT, *astuple(order))
            return (await self.find(order)) or order

    async def find(self, order: Order) -> Order | None:
        """Give what is known of an order, unless it was forgotten."""
        found = await self._ask("SELECT * FROM accepted WHERE chat = ? AND command = ?", order.chat, order.command)
        return found[0] if found else None

    async def remove(self, order: Order) -> None:
        """Remove an order whose end has been reported."""
        with anyio.CancelScope(shield=True):
            await self._ask("DELETE FROM accepted WHERE chat = ? AND command = ?", order.chat, order.command)

    async def all(self) -> list[Order]:
        """Give all of them, the oldest first."""
        return await self._ask("SELECT * FROM accepted ORDER BY rowid")

    async def of(self, user: int) -> list[Order]:
        """Give a user's, the oldest first."""
        return await self._ask("SELECT * FROM accepted WHERE user = ? ORDER BY rowid", user)
