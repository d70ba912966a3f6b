"""What a bot has promised, on the disk: a restart finds each message again, and the task that it tells of."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread


@dataclass(frozen=True)
class Order:
    """A message of the bot, for whom it is, and its task, which has no id until Cyberun has given one."""

    chat: int
    message: int
    user: int
    task_id: str | None = None


class Unfinished:
    """The orders whose end has not been told yet."""

    def __init__(self, path: Path) -> None:
        """Make the table where there is none."""
        self._path = path
        self._run(
            "CREATE TABLE IF NOT EXISTS orders (chat INT, message INT, user INT, task_id TEXT, UNIQUE(chat, message))"
        )

    def _run(self, statement: str, *values: str | int | None) -> list[Order]:
        with closing(sqlite3.connect(self._path)) as database, database:
            return [Order(*row) for row in database.execute(statement, values)]

    async def _ask(self, statement: str, *values: str | int | None) -> list[Order]:
        # The disk may be slow, and the event loop is everybody's.
        return await anyio.to_thread.run_sync(self._run, statement, *values)

    async def put(self, order: Order) -> None:
        """Remember an order, or what is new about it."""
        values = order.chat, order.message, order.user, order.task_id
        await self._ask("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", *values)

    async def remove(self, order: Order) -> None:
        """Forget an order whose end has been told."""
        await self._ask("DELETE FROM orders WHERE chat = ? AND message = ?", order.chat, order.message)

    async def all(self) -> list[Order]:
        """Give all of them, the oldest first."""
        return await self._ask("SELECT * FROM orders ORDER BY rowid")

    async def of(self, user: int) -> list[Order]:
        """Give a user's."""
        return [order for order in await self.all() if order.user == user]
