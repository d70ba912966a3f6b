"""Submit a task, and leave its id in the queue: `python submit.py a harbour in the fog`."""

import asyncio
import sys

from arq import create_pool
from redis.exceptions import RedisError
from worker import QUEUE

from cyberun_async import AsyncClient


async def main(prompt: str) -> None:
    """Submit once, and hand the id over."""
    try:
        queue = await create_pool(QUEUE)  # First: without a queue nothing is billed.
    except (RedisError, OSError) as error:
        sys.exit(f"there is no queue, so nothing was submitted: {error}")
    try:
        async with AsyncClient() as client:
            task_id = await client.submit("text-to-image", {"prompt": prompt})
        print(task_id, flush=True)
        await queue.enqueue_job("collect", task_id, _job_id=task_id)
    except RedisError as error:
        sys.exit(f"task {task_id} runs, and is not in the queue ({error}): leave it there again")
    finally:
        await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:])))
