"""A part of a file is the right bytes, or an error of ours, whatever a storage says and however often it breaks off."""

from __future__ import annotations

import random

import httpx
import pytest
from files.test_parts import DATA, storing, with_ranges, without_ranges
from files.test_storage_fuzz import WORDS
from support.in_memory import Reply
from support.sampling import seeds

from cyberun_async import StorageError

HEADERS = ["ETag", "Content-Range", "Content-Length", "Last-Modified", "Content-Type", "Content-Encoding"]


def unreliable(dice: random.Random, request: httpx.Request) -> Reply:
    """Respond rightly or wrongly, by one of the ways that have been seen."""
    right, everything = with_ranges(request), without_ranges(request)
    cut = everything.body[: dice.randrange(len(DATA) + 1)]
    return dice.choice(
        [
            right,
            right,
            everything,
            Reply(503),
            Reply(200, cut, everything.headers, breaks=True),
            Reply(
                right.status,
                right.body[: dice.randrange(len(right.body) + 1)],
                right.headers,
                breaks=right.status < 300,
            ),
            Reply(right.status, right.body, {**right.headers, "Content-Range": "bytes 1-50/100"}),
            Reply(right.status, right.body, {n: v for n, v in right.headers.items() if n != "Content-Length"}),
        ]
    )


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(sample=20, soak=6000))
async def test_parts_of_an_unreliable_storage(seed: int) -> None:
    """What is handed out is the part that was asked for, or the complete file where its status says so."""
    dice = random.Random(seed)
    start = dice.choice([0, dice.randrange(-120, 120)])
    stop = None if start < 0 or dice.random() < 0.4 else start + dice.randrange(1, 130)
    async with storing(lambda request: unreliable(dice, request)) as (client, file, _):
        try:
            async with client.open_file(file, start=start, stop=stop) as chunks:
                given = b"".join([chunk async for chunk in chunks])
        except StorageError:
            return
    is_complete = chunks.status == 200
    assert given == (DATA if is_complete else DATA[start:stop])
    assert chunks.stop is None or len(given) == chunks.stop - chunks.start


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(sample=20, soak=6000))
async def test_facts_of_any_headers(seed: int) -> None:
    """Whatever stands in a header, the facts can be read, and handed on as headers."""
    dice = random.Random(seed)

    def storage(request: httpx.Request) -> Reply:
        reply = with_ranges(request)
        return Reply(
            reply.status, reply.body, {**reply.headers, **dict.fromkeys(dice.sample(HEADERS, 2), dice.choice(WORDS))}
        )

    async with storing(storage) as (client, file, _):
        try:
            async with client.open_file(
                file, start=dice.choice([0, 5]), if_range=dice.choice([None, '"v1"'])
            ) as chunks:
                headers = httpx.Headers(chunks.headers)
                assert headers.get("Last-Modified") is None or chunks.last_modified is not None
                assert [chunk async for chunk in chunks if not chunk] == []
        except StorageError:
            return
