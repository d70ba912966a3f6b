"""Try the queue where there is nothing but Python: `python docs/examples/queue/serve.py`.

The submitters and the workers are separate processes; Cyberun is a local test server, and Redis a stand-in.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import arq.worker
from fakeredis import TcpFakeServer

from cyberun_async.local import LocalCyberun

HERE = Path(__file__).parent
PROMPTS = ("a lighthouse at dusk", "a harbour in the fog", "a hill in the snow")


@contextmanager
def stand_in_for_redis() -> Iterator[str]:
    """Serve what arq needs of Redis, in memory, and give its URL."""
    with TcpFakeServer(("127.0.0.1", 0)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "redis://{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()


def work() -> None:
    """Do what `arq worker.WorkerSettings --burst` does, but without its greeting: the stand-in knows no INFO."""
    from worker import WorkerSettings

    async def no_greeting(*_: object) -> None:
        pass

    logging.basicConfig(format="worker %(process)d: %(message)s")
    logging.getLogger("arq.worker").setLevel(logging.INFO)
    arq.worker.log_redis_info = no_greeting
    arq.worker.run_worker(WorkerSettings, burst=True)


def main() -> None:
    """Submit some tasks, and have two workers wait for them until there are none left."""
    with stand_in_for_redis() as redis, LocalCyberun(pace=1) as cyberun:
        environment = os.environ | {
            "CYBERUN_BASE_URL": cyberun.base_url,
            "CYBERUN_API_KEY": cyberun.api_key,
            "REDIS_URL": redis,
        }
        for prompt in PROMPTS:
            subprocess.run([sys.executable, HERE / "submit.py", prompt], env=environment, check=True)
        workers = [subprocess.Popen([sys.executable, __file__, "work"], env=environment) for _ in range(2)]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the workers, which end by it.
        for worker in workers:
            worker.wait()
    print(*sorted(map(str, Path("pictures").rglob("*.png"))), sep="\n")


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else main()
