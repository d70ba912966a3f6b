"""Submit a task, and leave its id in the queue: `python submit.py a harbour in the fog`."""

import asyncio
import sys

from arq import create_pool
from worker import QUEUE

from cyberun_async import AsyncClient


async def main(prompt: str) -> None:
    """Submit once, and hand the id over."""
    queue = await create_pool(QUEUE)  # First: without a queue nothing is billed.
    try:
        async with AsyncClient() as client:
            task_id = await client.submit("text-to-image", {"prompt": prompt})
        print(task_id, flush=True)
        await queue.enqueue_job("collect", task_id, _job_id=task_id)
    finally:
        await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:])))
