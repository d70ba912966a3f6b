"""The example of docs/dask.md: shards over the workers of a Dask cluster, one of which is lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.forking import ForkedProcess, ForkServer
from support.lazily import Lazily
from support.web import EXAMPLES, load_example

from cyberun_async import ConfigurationError
from cyberun_async.local import Aim, LocalCyberun, LocalParameter
from cyberun_async.local.scripts import after, complete

distributed = Lazily("distributed")

PROGRAM = EXAMPLES / "dask_batch.py"
SHARDS, ITEMS_OF_A_SHARD = 16, 6
ITEMS = SHARDS * ITEMS_OF_A_SHARD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is a machine of its own on Linux only"),
]


class Cluster:
    """A Dask scheduler and workers without nannies, each a process of its own.

    Attributes:
        directory: Where each machine's disk is, a folder of its name.
        scheduler: The scheduler's process.

    """

    def __init__(
        self, forks: ForkServer, directory: Path, environment: Mapping[str, str], processes: ExitStack
    ) -> None:
        """Start the scheduler."""
        self.directory = directory
        self._forks = forks
        self._environment = os.environ | environment
        self._processes = processes
        place = directory / "scheduler.json"
        place.unlink(missing_ok=True)
        self.scheduler = self._dask("scheduler", "127.0.0.1", "--port", "0", "--scheduler-file", str(place))
        until(lambda: place.exists() and place.stat().st_size)
        self.address = json.loads(place.read_text())["address"]

    def worker(self, host: str) -> ForkedProcess:
        """Start a worker with one slot, in the folder that is the machine's disk."""
        return self._dask("worker", host, self.address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0")

    def program(self, *options: str) -> ForkedProcess:
        """Start the example."""
        items = self.directory / "items.jsonl"
        items.write_text("".join(json.dumps({"id": key, "name": key}) + "\n" for key in keys()))
        return self._start(PROGRAM, "work", str(items), "--scheduler", self.address, *options, cwd=self.directory)

    def is_in_log(self, words: str, host: str) -> bool:
        """Tell whether a worker of a machine has said something."""
        return words in (self.directory / host / "worker.log").read_text()

    def journals(self, host: str) -> set[str]:
        """Name the journals on a machine's disk."""
        return {path.name for path in (self.directory / host / "journals").glob("*.journal")}

    def _dask(self, part: str, host: str, *arguments: str) -> ForkedProcess:
        disk = self.directory / host
        disk.mkdir(exist_ok=True)
        command = ["-m", "dask", part, *arguments, "--host", host, "--dashboard-address", f"{host}:0"]
        with (disk / f"{part}.log").open("a") as log:
            return self._start(*command, cwd=disk, streams=(0, log.fileno(), log.fileno()))

    def _start(self, *arguments: str | Path, **options: Any) -> ForkedProcess:
        process = self._processes.enter_context(self._forks.start(*arguments, env=self._environment, **options))
        self._processes.callback(process.kill)
        return process


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    """Have imported what each part of a cluster needs."""
    with ForkServer("distributed.cli.dask_scheduler", "distributed.cli.dask_worker") as forks:
        yield forks


@pytest.fixture
def server() -> Iterator[LocalCyberun]:
    """Run a Cyberun whose clock stands still."""
    with LocalCyberun(clock="held") as server:
        server.workflow("work", parameters=[LocalParameter("name")], script=[after(1), complete({})])(lambda _: b"")
        yield server


@pytest.fixture
def cluster(server: LocalCyberun, forks: ForkServer, tmp_path: Path) -> Iterator[Cluster]:
    """Start a scheduler, and end all that is started."""
    account = {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}
    with ExitStack() as processes:
        yield Cluster(forks, tmp_path, account, processes)


def keys() -> list[str]:
    """Give as many keys to each shard."""
    shards: dict[int, list[str]] = {shard: [] for shard in range(SHARDS)}
    for number in range(100 * ITEMS):
        shard = shards[zlib.crc32(f"item-{number}".encode()) % SHARDS]
        if len(shard) < ITEMS_OF_A_SHARD:
            shard.append(f"item-{number}")
    return [key for shard in shards.values() for key in shard]


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def received(server: LocalCyberun) -> int:
    """Count the submissions that have arrived, whether or not they were answered."""
    return sum(each.operation == "workflows.run" for each in server.requests)


def billed(server: LocalCyberun) -> Counter[str]:
    """Count the tasks of each item by the server's own record."""
    runs = [each for each in server.requests if each.operation == "workflows.run" and each.task_id]
    return Counter(json.loads(each.body)["parameters"]["name"] for each in runs)


def ended(server: LocalCyberun, program: ForkedProcess) -> tuple[dict[str, str], str]:
    """Let time pass on the server until the program has ended; give each item's outcome, and the summary."""

    def has_ended() -> bool:
        server.clock.advance_blocking(1)
        return program.poll() is not None

    until(has_ended)
    out, err = program.communicate()
    rows = [json.loads(line) for line in out.splitlines()]
    assert sorted(row["key"] for row in rows) == sorted(keys()), err
    return {row["key"]: row["outcome"] for row in rows}, err.splitlines()[-1]


@contextmanager
def holding_half(server: LocalCyberun) -> Iterator[None]:
    """Answer every other submission, as the dice fall, and act on the others only when this is left."""
    released = threading.Event()

    async def hold(app: Any, *arguments: Any) -> None:
        while not released.is_set():  # noqa: ASYNC110 - another thread's event has nothing to wait on
            await asyncio.sleep(0.01)
        await app(*arguments)

    server.faults._add("hold", hold, Aim(on="workflows.run", times=None, probability=0.5))
    try:
        yield
    finally:
        server.faults.clear()
        released.set()


def test_workers_are_killed(server: LocalCyberun, cluster: Cluster) -> None:
    """Where its journal is a shard goes on; nothing is paid twice, and what nobody can know is said to be uncertain."""
    workers = [cluster.worker(host) for host in ("127.0.0.1", "127.0.0.1", "127.0.0.2")]
    program = cluster.program("--workers", "3")
    with holding_half(server):
        # Each worker has submitted a shard, and has been answered for about half of it.
        until(lambda: received(server) == 3 * ITEMS_OF_A_SHARD)
        for worker in workers[1:]:
            worker.kill()
            worker.wait()
    # One machine has another worker; the other one has none until it is back.
    cluster.worker("127.0.0.2")
    outcomes, summary = ended(server, program)

    counts = Counter(outcomes.values())
    assert set(counts) == {"done", "uncertain"}
    assert counts["uncertain"] < 2 * ITEMS_OF_A_SHARD
    assert summary == f"{counts['done']} done, 0 failed, {counts['uncertain']} uncertain, 0 left"
    assert program.returncode == 1
    paid = billed(server)
    assert all(paid[key] == 1 if outcome == "done" else paid[key] <= 1 for key, outcome in outcomes.items())
    first, second = cluster.journals("127.0.0.1"), cluster.journals("127.0.0.2")
    assert (len(first), len(second), len(first | second)) == (SHARDS // 2, SHARDS // 2, SHARDS)

    # The same line again submits nothing, and the uncertain ones only when it is told to.
    assert ended(server, cluster.program("--workers", "2")) == (outcomes, summary)
    assert billed(server) == paid
    again, summary = ended(server, cluster.program("--workers", "2", "--resubmit", "uncertain"))
    assert (set(again.values()), summary) == ({"done"}, f"{ITEMS} done, 0 failed, 0 uncertain, 0 left")
    uncertain = Counter(key for key, outcome in outcomes.items() if outcome == "uncertain")
    assert billed(server) == paid + uncertain


def test_the_scheduler_is_killed(server: LocalCyberun, cluster: Cluster, forks: ForkServer, tmp_path: Path) -> None:
    """The program says in a few lines what is done and what is left; with a new scheduler, the same line does the rest."""
    workers = [cluster.worker("127.0.0.1") for _ in range(2)]
    program = cluster.program("--workers", "2")
    until(lambda: received(server) == 2 * ITEMS_OF_A_SHARD)
    server.clock.advance_blocking(1)
    # A shard is done, and its worker has begun with the next one.
    until(lambda: received(server) > 2 * ITEMS_OF_A_SHARD)
    cluster.scheduler.kill()
    out, err = program.communicate(timeout=120)

    done = len(out.splitlines())
    assert err.splitlines() == [
        "waiting for 2 workers",
        "the scheduler is gone; once there is one, the same line resumes what is left",
        f"{done} done, 0 failed, 0 uncertain, {ITEMS - done} left",
    ]
    assert program.returncode == 1
    for worker in workers:
        worker.wait(timeout=120)
    with ExitStack() as processes:
        account = {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}
        again = Cluster(forks, tmp_path, account, processes)
        again.worker("127.0.0.1")
        outcomes, summary = ended(server, again.program("--workers", "1"))
    counts = Counter(outcomes.values())
    assert summary == f"{counts['done']} done, 0 failed, {counts['uncertain']} uncertain, 0 left"
    # Only a submission that was under way when a worker ended is one that nobody can know of.
    assert set(counts) <= {"done", "uncertain"}
    assert all(billed(server)[key] <= 1 for key in keys())


def test_there_is_no_scheduler(tmp_path: Path) -> None:
    """It says so, in one line."""
    (tmp_path / "items.jsonl").write_text('{"id": 1}')
    run = subprocess.run(
        [sys.executable, PROGRAM, "work", "items.jsonl", "--scheduler", "tcp://127.0.0.1:9"],
        cwd=tmp_path,
        env=os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (run.returncode, len(run.stderr.splitlines())) == (1, 1)
    assert run.stderr.startswith("the scheduler does not respond: ")


async def give_up(scheduler: str, worker: ForkedProcess) -> None:
    """Stop a worker, and have the scheduler do what it does with one that has not been heard of for five minutes."""
    async with distributed.Client(scheduler, asynchronous=True) as client:
        addresses = [address for address, pid in (await client.run(os.getpid)).items() if pid == worker.pid]
        worker.send_signal(signal.SIGSTOP)
        await client.scheduler.restart_workers(workers=addresses, wait_for_workers=False, stimulus_id="not heard of")


def test_a_worker_is_given_up_and_lives(server: LocalCyberun, cluster: Cluster) -> None:
    """Its journal is refused to the next worker for as long as it has it, so both cannot submit."""
    stopped, _ = [cluster.worker("127.0.0.1") for _ in range(2)]
    program = cluster.program("--workers", "2")
    until(lambda: received(server) == 2 * ITEMS_OF_A_SHARD)
    asyncio.run(give_up(cluster.address, stopped))

    def is_refused() -> bool:
        server.clock.advance_blocking(1)
        return cluster.is_in_log("is in use by another batch", "127.0.0.1")

    until(is_refused)
    stopped.send_signal(signal.SIGCONT)
    outcomes, summary = ended(server, program)

    assert (set(outcomes.values()), summary) == ({"done"}, f"{ITEMS} done, 0 failed, 0 uncertain, 0 left")
    assert billed(server) == Counter(keys())


@pytest.mark.parametrize(
    ("journals", "home"),
    [
        pytest.param({"a": [], "b": []}, {0: ["a"], 1: ["b"], 2: ["a"]}, id="none yet"),
        pytest.param({"a": [1], "b": [0, 2]}, {0: ["b"], 1: ["a"], 2: ["b"]}, id="on disks of their own"),
        pytest.param({"a": [0, 1], "b": [0, 1]}, {0: ["a", "b"], 1: ["a", "b"], 2: ["a"]}, id="in a shared folder"),
        pytest.param({"a": [], "b": [0, 1], "c": []}, {0: ["b"], 1: ["b"], 2: ["c"]}, id="a machine has been added"),
    ],
)
def test_where_a_shard_may_run(journals: dict[str, list[int]], home: dict[int, list[str]]) -> None:
    """It may run where its journal is, and on one machine only where there is none yet."""
    seen = {f"tcp://{host}:8000": [f"{shard}.journal" for shard in shards] for host, shards in journals.items()}

    homes = load_example("dask_batch.py").homes(seen)

    assert {shard: homes[shard] for shard in home} == home


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte-order mark"])
def test_items(start: str, tmp_path: Path) -> None:
    """A line ends where the file has one, not where a text has a separator; blank lines are none, nor is a byte-order mark."""
    path = tmp_path / "items.jsonl"
    path.write_text(f'{start}{{"id": "a", "prompt": "x\u2028y\x85z"}}\n\n{{"id": 2}}\r\n', encoding="utf-8")

    shards = load_example("dask_batch.py").read(path)

    items = {key: parameters for its_items in shards.values() for key, parameters in its_items}
    assert items == {"a": {"prompt": "x\u2028y\x85z"}, "2": {}}


def test_a_worker_without_a_key(tmp_path: Path) -> None:
    """It says so before there is a shard."""
    with pytest.raises(ConfigurationError, match="CYBERUN_API_KEY"):
        load_example("dask_batch.py").prepare(str(tmp_path))


def test_a_program_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the workers are its own, it says so before they start."""
    monkeypatch.delenv("CYBERUN_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="CYBERUN_API_KEY"):
        load_example("dask_batch.py").main(
            "text-to-image", tmp_path / "none", scheduler=None, workers=1, journals="", resubmit=[]
        )


def test_on_one_machine(tmp_path: Path) -> None:
    """The command of the page starts a cluster of its own."""
    items = "".join(json.dumps({"id": n, "prompt": "a lake", "width": 64, "height": 64}) + "\n" for n in range(20))
    (tmp_path / "items.jsonl").write_text(items)
    with LocalCyberun() as server:
        environment = {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}
        run = subprocess.run(
            [sys.executable, PROGRAM, "text-to-image", "items.jsonl", "--workers", "2"],
            cwd=tmp_path,
            env=os.environ | environment | {"DASK_TEMPORARY_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )

        assert received(server) == 20
    assert len({json.loads(line)["task_id"] for line in run.stdout.splitlines()}) == 20
    # On a busy machine Dask reports that a worker took long to end.
    said = [line for line in run.stderr.splitlines() if " - distributed.nanny - " not in line]
    assert said == ["waiting for 2 workers", "20 done, 0 failed, 0 uncertain, 0 left"]


def test_it_ends_by_ctrl_c(forks: ForkServer, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the program and its workers: they end together, and only the program says so."""
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": "1", "prompt": "a lake"}))
    with LocalCyberun(clock="held") as server:
        environment = {"CYBERUN_BASE_URL": server.base_url, "CYBERUN_API_KEY": server.api_key}
        command = [PROGRAM, "text-to-image", "items.jsonl", "--workers", "2"]
        with forks.start(*command, cwd=tmp_path, env=os.environ | environment, start_new_session=True) as program:
            until(lambda: received(server))
            os.killpg(program.pid, signal.SIGINT)
            errors = program.communicate()[1]
    assert errors.splitlines() == ["waiting for 2 workers", "interrupted: the same command resumes the batch"]
    assert program.returncode == 130
