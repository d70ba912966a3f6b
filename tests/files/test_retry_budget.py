"""How long a transfer is retried: never without end, and at least once."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import httpx
import pytest
from support.in_memory import TASK_ID, Reply, in_memory
from support.shelf import Plan, virtual_shelf
from support.virtual import virtual
from trio.testing import MockClock

from cyberun_async import Retries, StorageError, Timeouts
from cyberun_async._files.retry import RetryBudget

DATA = bytes(range(256)) * 100


def test_budget() -> None:
    """Delays double up to a bound, end with the budget, and start over once the transfer is further than ever."""
    budget = RetryBudget(Retries(budget=10, initial=1, maximum=4, retry_after=5), jitter=lambda: 1.0)
    assert [budget.delay(now) for now in (0, 0, 0, 6, 7)] == [1, 2, 4, 4, None]
    assert not budget.progressed(0)
    assert budget.progressed(1)
    assert budget.delay(100, asked=5) == 6
    assert budget.delay(100, asked=6) is None
    assert not budget.progressed(1)
    assert budget.delay(111) is None
    budget.start_over()
    assert budget.progressed(1)


def test_a_second_attempt() -> None:
    """The first failure is always retried, within the budget, and a budget of 0 retries nothing."""
    short = RetryBudget(Retries(budget=0.1, initial=8, maximum=8), jitter=lambda: 1.0)
    assert short.delay(1000) == 0.1
    assert short.delay(1030.1) is None
    assert RetryBudget(Retries(budget=0)).delay(0) is None


@pytest.mark.parametrize("etag", [None, '"v"'], ids=["no ETag", "Range ignored"])
async def test_never_further(etag: str | None, tmp_path: Path) -> None:
    """A body that always breaks at the same place, and cannot be resumed, uses the budget up."""
    headers = {"Content-Length": str(len(DATA)), **({"ETag": etag} if etag else {})}
    requests = 0

    def storage(_: httpx.Request) -> Reply:
        nonlocal requests
        requests += 1
        assert requests < 1000
        return Reply(200, DATA[:5000], headers, breaks=True)

    short = Retries(budget=0.05, initial=0.001, maximum=0.001)
    async with in_memory(storage, retries=short) as (client, _):
        with pytest.raises(StorageError, match="broke") as caught:
            await client.download(TASK_ID, tmp_path)
        assert caught.value.retryable
        file = (await client.tasks.result(TASK_ID)).files[0]
        with pytest.raises(StorageError):
            await client.read_file(file)
    assert requests > 2


async def test_refusals_between_breaks(tmp_path: Path) -> None:
    """A link that is refused between two breaks is renewed once, unless the file came further."""
    turn = 0

    def storage(_: httpx.Request) -> Reply:
        nonlocal turn
        turn += 1
        return Reply(403) if turn % 2 else Reply(200, DATA[:5000], {"Content-Length": "9999"}, breaks=True)

    async with in_memory(storage) as (client, _):
        with pytest.raises(StorageError, match="403"):
            await client.download(TASK_ID, tmp_path)
    assert turn == 5  # 403, break, 403, break, 403: only the first break came further.


async def test_further_each_time(tmp_path: Path) -> None:
    """A file that comes a little further each time is fetched, although no single attempt brings it all."""
    given = 0

    def storage(_: httpx.Request) -> Reply:
        nonlocal given
        given += 2500
        return Reply(200, DATA[:given], {"Content-Length": str(len(DATA))}, breaks=given < len(DATA))

    async with in_memory(storage) as (client, _):
        [path] = await client.download(TASK_ID, tmp_path)
    assert path.read_bytes() == DATA


# What writes to a disk blocks, and on asyncio no test may do that in its loop.
@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_a_stall_longer_than_the_budget(tmp_path: Path) -> None:
    """One stall that lasts longer than the whole budget is retried: at the head, in the middle, and in a read."""
    async with virtual_shelf() as shelf, shelf.client(timeouts=Timeouts(read=60), retries=Retries(budget=30)) as client:
        shelf.put("a.bin", DATA)
        shelf.plan("a.bin", Plan(cut=0, stall=True), Plan(), Plan(cut=9, stall=True), Plan(), Plan(cut=0, stall=True))
        start = anyio.current_time()
        [path] = await client.download(TASK_ID, tmp_path / "head")
        assert path.read_bytes() == DATA
        [path] = await client.download(TASK_ID, tmp_path / "middle")
        assert path.read_bytes() == DATA
        assert await client.read_file((await client.tasks.result(TASK_ID)).files[0]) == DATA
        assert anyio.current_time() - start > 3 * 60


@virtual
async def test_an_upload_that_stalls() -> None:
    """An answer to an upload that does not come for longer than the whole budget is waited for once more."""
    async with virtual_shelf() as shelf, shelf.client(timeouts=Timeouts(read=60), retries=Retries(budget=30)) as client:
        shelf.plan("upload", Plan(stall=True))
        await client.upload(io.BytesIO(DATA), name="a.bin")
    assert len(shelf.put_attempts) == 2
