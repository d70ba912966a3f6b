"""Move files in a process of its own, and print the seconds, the rise of the peak memory in MiB, and the loop's stall in ms.

Arguments: who, `down` or `up` or `both` or the number of files at once, the address of the server, a directory.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024
TICK = 0.002


def peak() -> int:
    """Give the peak of the resident memory, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def ours(what: str, address: str, place: Path):
    from cyberun_async import AsyncClient

    client = AsyncClient("sk-1", base_url=f"{address}/api/v1")
    result = await client.tasks.result("one")
    several = await client.tasks.result("four")
    # What is imported on first use is not part of the work.
    await client.upload(b"warm", name="warm.bin")
    await client.download("warm", place)

    async def down() -> None:
        await client.download(result, place)

    async def up() -> None:
        await client.upload(place.parent / "files/files/half.bin")

    async def both() -> None:
        await asyncio.gather(down(), up())

    async def work() -> None:
        if what.isdigit():
            await client.download(several, place, concurrency=int(what))
        else:
            await {"down": down, "up": up, "both": both}[what]()

    return work, client.aclose


async def httpx_bare(what: str, address: str, place: Path):
    import httpx

    client = httpx.AsyncClient(timeout=60)

    async def blocks():
        with (place.parent / "files/files/half.bin").open("rb") as file:
            while block := file.read(MIB):
                yield block

    async def work() -> None:
        if what == "down":
            async with client.stream("GET", f"{address}/files/one.bin") as response:
                async for _ in response.aiter_raw():
                    pass
        else:
            length = str((place.parent / "files/files/half.bin").stat().st_size)
            await client.put(f"{address}/uploads/httpx.bin", content=blocks(), headers={"Content-Length": length})

    return work, client.aclose


async def aiohttp_plain(what: str, address: str, place: Path):
    import aiohttp

    session = aiohttp.ClientSession()

    async def work() -> None:
        if what == "down":
            async with session.get(f"{address}/files/one.bin") as response:
                with (place / "aiohttp.bin").open("wb") as file:
                    async for block in response.content.iter_chunked(MIB):
                        file.write(block)
        else:
            with (place.parent / "files/files/half.bin").open("rb") as file:
                await session.put(f"{address}/uploads/aiohttp.bin", data=file)

    return work, session.close


async def late(ticks: list[float]) -> None:
    """Note by how much each tick of the loop comes late, in milliseconds."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        ticks.append((time.perf_counter() - due) * 1000)


async def main() -> None:
    """Do what the arguments say."""
    who, what, address, directory = sys.argv[1:]
    prepare = {"ours": ours, "httpx": httpx_bare, "aiohttp": aiohttp_plain}[who]
    work, close = await prepare(what, address, Path(directory))
    ticks: list[float] = []
    ticker = asyncio.create_task(late(ticks)) if what == "both" else None
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, started = peak(), time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    rise = (peak() - before) / MIB
    if ticker is not None:
        ticker.cancel()
    await close()
    stall = statistics.quantiles(ticks, n=100)[98] if ticks else 0.0
    print(json.dumps({"seconds": seconds, "rise": rise, "stall": stall, "longest": max(ticks, default=0.0)}))


if __name__ == "__main__":
    asyncio.run(main())
