"""Open streams, and print what each takes of this process's memory, in KiB."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path

from benchmarks.many_streams import Streams, reader

FIRST, MORE = 100, 900


def resident() -> int:
    """Give the bytes that this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(contestant: str, server: str) -> None:
    """Print the figure, and be gone."""
    streams = Streams(reader(contestant, server))
    await streams.open(FIRST)
    before = resident()
    await streams.open(MORE)
    print((resident() - before) / 1024 / MORE, flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
