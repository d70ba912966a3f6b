"""A local Cyberun for batches, in a process of its own: `STAYING [bad]`; it prints its address, key, and a file of task ids."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from typing import TYPE_CHECKING

from cyberun_async.local import Job, LocalCyberun, LocalParameter
from cyberun_async.local.scripts import after, complete, fail, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyberun_async.local.scripts import Step


def life(job: Job) -> Sequence[Step]:
    """Run for as long as the parameters say, and fail where they say so."""
    end = fail("out of memory") if job.parameters.get("fail") else complete({"n": job.number("n")})
    return [status("running"), after(job.number("seconds")), end]


def main(staying: str, day: str = "good") -> None:
    """Serve until stdin ends."""
    with LocalCyberun(pace=1) as server:
        parameters = [
            LocalParameter("n", "number"),
            LocalParameter("seconds", "number"),
            LocalParameter("fail", "boolean"),
        ]
        server.workflow("work", parameters=parameters, script=life)(lambda _: b"")
        server.workflow("stay", script=[status("running")])(lambda _: b"")

        async def fill() -> list[str]:
            workflow = server._workflows.by_slug("stay", server.team_id)
            return [
                server._scheduler.submit(
                    workflow, {}, dispatch_target="agent", target_pool="team", team_id=server.team_id
                ).id
                for _ in range(int(staying))
            ]

        ids = asyncio.run_coroutine_threadsafe(fill(), server._loop).result()
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(ids, file)
        if day == "bad":
            server.faults.status(503, probability=0.01, times=None)
            server.faults.cut_stream(after=100, probability=0.01, times=None)
            server.faults.status(429, on="workflows.run", after=3000, times=300)
        print(server.base_url, server.api_key, file.name, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
