"""A process that is stopped by a signal in the middle of a request, as by Ctrl-Z, outlives the first failure after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import anyio
import pytest
from support.scripted import Exchange, Remote, answer, scripted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="the system has no such signal"),
]

PROGRAM = """
import sys, anyio
from cyberun_async import AsyncClient, Limits, Polling

async def main():
    polling = Polling(interval=0.2, unavailable_timeout=1.0)
    async with AsyncClient("sk-test", base_url=sys.argv[2], polling=polling, limits=Limits(max_streams=0)) as client:
        print((await client.wait_for_result("t-1")).status)

anyio.run(main, backend=sys.argv[1])
"""


async def test_a_process_that_is_stopped(anyio_backend_name: str) -> None:
    """It was away for longer than its patience, and goes on with the next poll."""
    remote = Remote("running")

    async def stop(exchange: Exchange) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        await anyio.sleep(2.0)
        remote.status = "completed"
        os.kill(process.pid, signal.SIGCONT)
        await exchange.answer(502)

    async with scripted() as server:
        remote.on(server)
        server.on("task", remote.look, answer(502), stop, remote.look)
        command = [sys.executable, "-c", PROGRAM, anyio_backend_name, server.base_url]
        async with await anyio.open_process(command, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            with anyio.fail_after(40):
                said = b"".join([chunk async for chunk in process.stdout])
                await process.wait()

    assert (said.strip(), process.returncode) == (b"completed", 0)
