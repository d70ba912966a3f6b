"""The queue example with its processes: a Cyberun whose clock the tests move, Redis, one who submits, and workers."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from arq import create_pool
from arq.connections import RedisSettings
from support.forking import ForkedProcess, ForkServer
from support.web import EXAMPLES, load_example

from cyberun_async.local import LocalCyberun

EXAMPLE = EXAMPLES / "queue"


class Site:
    """What a queue stands between.

    Attributes:
        cyberun: Its clock is held.
        redis: A connection to look into the queue.
        pictures: Where the workers put files.

    """

    def __init__(self, forks: ForkServer, cyberun: LocalCyberun, url: str, start: list[str], directory: Path) -> None:
        """Start nothing yet."""
        self._forks = forks
        self.cyberun = cyberun
        self.redis = redis.Redis.from_url(url)
        self.pictures = directory / "pictures"
        self._start = start
        self._environment = os.environ | {
            "CYBERUN_BASE_URL": cyberun.base_url,
            "CYBERUN_API_KEY": cyberun.api_key,
            "REDIS_URL": url,
            "PICTURES": str(self.pictures),
        }
        self._workers = ExitStack()

    def submit(self, prompt: str) -> ForkedProcess:
        """Start to submit, in a process of its own."""
        return self._forks.start(EXAMPLE / "submit.py", prompt, env=self._environment, cwd=EXAMPLE)

    def submitted(self, prompt: str) -> str:
        """Submit in a process that is gone then, and give the task."""
        program = self.submit(prompt)
        out, err = program.communicate()
        assert program.returncode == 0, err
        return out.strip()

    def leave(self, task_id: str) -> None:
        """Leave a task in the queue again."""

        async def enqueue() -> None:
            queue = await create_pool(RedisSettings.from_dsn(self._environment["REDIS_URL"]))
            await queue.enqueue_job("collect", task_id, _job_id=task_id)
            await queue.aclose()

        asyncio.run(enqueue())

    def work(self) -> ForkedProcess:
        """Start a worker."""
        worker = self._forks.start(*self._start, env=self._environment, cwd=EXAMPLE, streams=(0, 1, 2))
        self._workers.enter_context(worker)
        self._workers.callback(worker.kill)
        return worker

    def close(self) -> None:
        """End the workers that are left."""
        self._workers.close()
        self.redis.close()

    def count(self, operation: str, task_id: str | None = None) -> int:
        """Count the requests of a kind, of one task or all."""
        exchanges = [each for each in self.cyberun.requests if each.operation == operation]
        return sum(task_id in {None, each.task_id} for each in exchanges)

    def queued(self) -> list[str]:
        """Give the ids in the queue, those included that a worker is waiting for."""
        return [job.decode() for job in self.redis.zrange("arq:queue", 0, -1)]

    def taken(self, task_id: str) -> bool:
        """Tell whether a worker has a job."""
        return bool(self.redis.exists(f"arq:in-progress:{task_id}"))


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@contextmanager
def real_redis(directory: Path) -> Iterator[str]:
    """Run Redis itself, on a socket of its own."""
    socket = directory / "redis.sock"
    program = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL) as server:
        try:
            until(socket.exists)
            yield f"unix://{socket}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    """Have imported what submitters and workers need."""
    with ForkServer("arq.cli", "arq.worker", "fakeredis") as forks:
        yield forks


@pytest.fixture(params=["redis", "stand-in"])
def site(request: pytest.FixtureRequest, forks: ForkServer, tmp_path: Path) -> Iterator[Site]:
    """Give a queue in Redis, and in the stand-in that the example is tried with."""
    if request.param == "redis" and shutil.which("redis-server") is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    with ExitStack() as stack:
        if request.param == "redis":
            url = stack.enter_context(real_redis(tmp_path))
            start = ["-m", "arq", "worker.WorkerSettings"]
        else:
            url = stack.enter_context(load_example("queue/serve.py").stand_in_for_redis())
            start = ["serve.py", "work"]
        site = Site(forks, stack.enter_context(LocalCyberun(clock="held")), url, start, tmp_path)
        stack.callback(site.close)
        yield site
